//! Templates and versions: making, changing, deleting, and resolving one for a launch.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{LaunchTemplate, Version, Which};
use crate::ec2::instance::launch::{self, Launch};
use crate::ec2::instance::{interfaces, resolve, user_data};
use crate::ec2::volume::mapping;
use crate::ec2::{Error, Kind, Result, catalog, image, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// What a template says about a launch, and which version said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub template_id: String,
    pub template_name: String,
    pub version_number: u64,
    pub launch: Launch,
}

/// For RunInstances and Auto Scaling, which merge their own values over it.
pub fn resolve(snapshot: &Snapshot, cx: &Context, spec: &launch::Template) -> Result<Resolved> {
    let template = find(snapshot, cx, spec.id.as_deref(), spec.name.as_deref())?;
    let which = which(spec.version.as_deref().unwrap_or("$Default"))?;
    let version = version(snapshot, cx, &template, which)?;
    Ok(Resolved {
        template_id: template.id.clone(),
        template_name: template.name.clone(),
        version_number: version.number,
        launch: version.launch.clone(),
    })
}

/// By id or by name, one of which must be given.
pub fn find(
    snapshot: &Snapshot,
    cx: &Context,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Arc<LaunchTemplate>> {
    match (id, name) {
        (Some(_), Some(_)) => Err(Error::combination(
            "A launch template is given by its ID or by its name, not by both.",
        )),
        (None, None) => Err(Error::MissingParameter("LaunchTemplateId or LaunchTemplateName")),
        (Some(id), None) if !Kind::LaunchTemplate.is_id(id) => {
            Err(Error::malformed(Kind::LaunchTemplate, id))
        }
        (Some(id), None) => snapshot
            .get::<LaunchTemplate>(&cx.key(id))
            .ok_or_else(|| Error::not_found(Kind::LaunchTemplate, id)),
        (None, Some(name)) => by_name(snapshot, cx, name)
            .ok_or_else(|| Error::not_found(Kind::LaunchTemplateName, name)),
    }
}

fn by_name(snapshot: &Snapshot, cx: &Context, name: &str) -> Option<Arc<LaunchTemplate>> {
    let prefix = cx.prefix();
    snapshot.scan::<LaunchTemplate>(&prefix).find(|template| template.name == name)
}

/// `$Default`, `$Latest` or a number.
pub fn which(text: &str) -> Result<Which> {
    text.parse().map_err(|()| {
        Error::value(
            "Invalid launch template version: either '$Default', '$Latest', or a numeric version are \
             allowed.",
        )
    })
}

/// In order of their numbers.
pub fn versions(snapshot: &Snapshot, cx: &Context, template_id: &str) -> Vec<Arc<Version>> {
    snapshot.scan(&format!("{}{template_id}/", cx.prefix())).collect()
}

pub fn version(
    snapshot: &Snapshot,
    cx: &Context,
    template: &LaunchTemplate,
    which: Which,
) -> Result<Arc<Version>> {
    let number = match which {
        Which::Default => template.default_version,
        Which::Latest => latest(snapshot, cx, template),
        Which::Number(number) => number,
    };
    let key = Version::key_of(&cx.account, &cx.region, &template.id, number);
    snapshot.get::<Version>(&key).ok_or_else(|| Error::LaunchTemplateVersionNotFound {
        id: template.id.clone(),
        version: number.to_string(),
    })
}

/// The highest number there is.
pub fn latest(snapshot: &Snapshot, cx: &Context, template: &LaunchTemplate) -> u64 {
    let versions = versions(snapshot, cx, &template.id);
    versions.last().map_or(template.default_version, |version| version.number)
}

/// A request for a template or a version of one.
#[derive(Clone, Debug, Default)]
pub struct NewVersion {
    pub description: Option<String>,
    pub client_token: Option<String>,
    pub launch: Launch,
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    new: &NewVersion,
    tags: &Tags,
) -> Result<LaunchTemplate> {
    check_name(name)?;
    check_description(new.description.as_deref())?;
    check_launch(&new.launch)?;
    tag::ops::check(tags)?;
    if let Some(earlier) = earlier_create(tx, cx, new.client_token.as_deref()) {
        return same_create(tx, cx, earlier, name, new);
    }
    if by_name(tx, cx, name).is_some() {
        return Err(Error::LaunchTemplateNameInUse);
    }
    let template = LaunchTemplate {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "lt"),
        name: name.to_owned(),
        created_at: cx.now,
        created_by: cx.caller.clone(),
        default_version: 1,
        last_number: 0,
        client_token: new.client_token.clone(),
    };
    tag::ops::set(tx, cx, &template.id, tags)?;
    add_version(tx, cx, template, new, new.launch.clone()).map(|(template, _)| template)
}

fn earlier_create(
    snapshot: &Snapshot,
    cx: &Context,
    token: Option<&str>,
) -> Option<Arc<LaunchTemplate>> {
    let (token, prefix) = (token?, cx.prefix());
    let mut all = snapshot.scan::<LaunchTemplate>(&prefix);
    all.find(|template| template.client_token.as_deref() == Some(token))
}

/// The answer to a request that was made before with the same token.
fn same_create(
    snapshot: &Snapshot,
    cx: &Context,
    earlier: Arc<LaunchTemplate>,
    name: &str,
    new: &NewVersion,
) -> Result<LaunchTemplate> {
    let first = version(snapshot, cx, &earlier, Which::Number(1)).ok();
    let same = earlier.name == name
        && first.is_none_or(|v| v.launch == new.launch && v.description == new.description);
    if same { Ok((*earlier).clone()) } else { Err(mismatch()) }
}

fn mismatch() -> Error {
    Error::IdempotentParameterMismatch(
        "The client token you have provided was used for another request with other parameters."
            .to_owned(),
    )
}

/// `source`: the version whose data the new one has where `new` says nothing.
pub fn create_version(
    tx: &mut Tx,
    cx: &Context,
    template: &LaunchTemplate,
    source: Option<Which>,
    new: &NewVersion,
) -> Result<(LaunchTemplate, Version)> {
    check_description(new.description.as_deref())?;
    let launch = match source {
        Some(which) => inherit(&new.launch, &version(tx, cx, template, which)?.launch),
        None => new.launch.clone(),
    };
    check_launch(&launch)?;
    let token = new.client_token.as_ref();
    let earlier = token.and_then(|token| {
        let versions = versions(tx, cx, &template.id);
        versions.into_iter().find(|version| version.client_token.as_ref() == Some(token))
    });
    if let Some(earlier) = earlier {
        let same = earlier.launch == launch && earlier.description == new.description;
        return if same { Ok((template.clone(), (*earlier).clone())) } else { Err(mismatch()) };
    }
    add_version(tx, cx, template.clone(), new, launch)
}

fn add_version(
    tx: &mut Tx,
    cx: &Context,
    mut template: LaunchTemplate,
    new: &NewVersion,
    launch: Launch,
) -> Result<(LaunchTemplate, Version)> {
    template.last_number += 1;
    let version = Version {
        account: cx.account.clone(),
        region: cx.region.clone(),
        template_id: template.id.clone(),
        number: template.last_number,
        description: new.description.clone(),
        created_at: cx.now,
        created_by: cx.caller.clone(),
        client_token: new.client_token.clone(),
        launch,
    };
    tx.put(version.clone());
    tx.put(template.clone());
    Ok((template, version))
}

/// CreateLaunchTemplateVersion's rule: every member given replaces the source's, whole. Names all
/// members, so that none can be forgotten.
fn inherit(new: &Launch, source: &Launch) -> Launch {
    fn some<T: Clone>(new: &Option<T>, source: &Option<T>) -> Option<T> {
        new.clone().or_else(|| source.clone())
    }
    fn full<T: Clone>(new: &[T], source: &[T]) -> Vec<T> {
        if new.is_empty() { source.to_vec() } else { new.to_vec() }
    }
    // `Placement` is one member.
    let placement = if new.says_placement() { new } else { source };
    let metadata_said = new.metadata != launch::Metadata::default();
    Launch {
        image_id: some(&new.image_id, &source.image_id),
        instance_type: some(&new.instance_type, &source.instance_type),
        zone: placement.zone.clone(),
        zone_id: placement.zone_id.clone(),
        placement_group: placement.placement_group.clone(),
        partition: placement.partition,
        capacity_reservation: some(&new.capacity_reservation, &source.capacity_reservation),
        security_group_ids: full(&new.security_group_ids, &source.security_group_ids),
        security_group_names: full(&new.security_group_names, &source.security_group_names),
        interfaces: full(&new.interfaces, &source.interfaces),
        iam_instance_profile: some(&new.iam_instance_profile, &source.iam_instance_profile),
        key_name: some(&new.key_name, &source.key_name),
        user_data: some(&new.user_data, &source.user_data),
        block_devices: full(&new.block_devices, &source.block_devices),
        metadata: if metadata_said { new.metadata.clone() } else { source.metadata.clone() },
        shutdown_behavior: some(&new.shutdown_behavior, &source.shutdown_behavior),
        disable_api_termination: some(
            &new.disable_api_termination,
            &source.disable_api_termination,
        ),
        disable_api_stop: some(&new.disable_api_stop, &source.disable_api_stop),
        monitoring: new.monitoring.or(source.monitoring),
        market: some(&new.market, &source.market),
        cpu_credits: new.cpu_credits.or(source.cpu_credits),
        tags: if new.tags.is_empty() { source.tags.clone() } else { new.tags.clone() },
        // What no template's data has.
        min_count: new.min_count,
        max_count: new.max_count,
        subnet_id: new.subnet_id.clone(),
        private_ip: new.private_ip,
        client_token: new.client_token.clone(),
        template: new.template.clone(),
    }
}

pub fn set_default(
    tx: &mut Tx,
    cx: &Context,
    template: &LaunchTemplate,
    which: Which,
) -> Result<LaunchTemplate> {
    let number = version(tx, cx, template, which)?.number;
    let template = LaunchTemplate { default_version: number, ..template.clone() };
    tx.put(template.clone());
    Ok(template)
}

/// Deletes the template and its versions.
pub fn delete(tx: &mut Tx, cx: &Context, template: &LaunchTemplate) {
    for version in versions(tx, cx, &template.id) {
        tx.delete::<Version>(&store::Record::key(&*version));
    }
    tag::ops::forget(tx, cx, &template.id);
    tx.delete::<LaunchTemplate>(&cx.key(&template.id));
}

/// What became of each version that was to be deleted.
#[derive(Debug)]
pub struct Deletion {
    pub number: u64,
    /// The code and the words of DeleteLaunchTemplateVersions' own errors.
    pub refused: Option<(&'static str, String)>,
}

pub fn delete_versions(
    tx: &mut Tx,
    cx: &Context,
    template: &LaunchTemplate,
    numbers: &[String],
) -> Result<Vec<Deletion>> {
    let mut deletions = Vec::new();
    for text in numbers {
        let Which::Number(number) = which(text)? else {
            return Err(Error::value("Versions to delete are given by their numbers."));
        };
        let refused = if number == template.default_version {
            let message = "The default version of a launch template cannot be deleted.";
            Some(("unexpectedError", message.to_owned()))
        } else if version(tx, cx, template, Which::Number(number)).is_err() {
            let message = format!(
                "Could not find the specified version {number} for the launch template with ID {}.",
                template.id
            );
            Some(("launchTemplateVersionDoesNotExist", message))
        } else {
            let key = Version::key_of(&cx.account, &cx.region, &template.id, number);
            tx.delete::<Version>(&key);
            None
        };
        deletions.push(Deletion { number, refused });
    }
    Ok(deletions)
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
    if !(3..=128).contains(&name.chars().count()) || !name.chars().all(allowed) {
        return Err(Error::LaunchTemplateNameMalformed);
    }
    Ok(())
}

fn check_description(description: Option<&str>) -> Result<()> {
    if description.is_some_and(|text| text.chars().count() > 255) {
        return Err(Error::value("The version description can have at most 255 characters."));
    }
    Ok(())
}

/// What can be judged without a launch: whether it says anything, and the form of what it says.
fn check_launch(launch: &Launch) -> Result<()> {
    if *launch == Launch::default() {
        return Err(Error::value("You must specify at least one launch template parameter."));
    }
    if let Some(image_id) = &launch.image_id
        && !Kind::Image.is_id(image_id)
        && !image_id.starts_with(image::ops::BY_PARAMETER)
    {
        return Err(Error::malformed(Kind::Image, image_id));
    }
    if let Some(name) = &launch.instance_type
        && catalog::instance_type(name).is_none()
    {
        return Err(Error::not_found(Kind::InstanceType, name));
    }
    let groups = launch.interfaces.iter().flat_map(|interface| &interface.groups);
    for group in launch.security_group_ids.iter().chain(groups) {
        if !Kind::SecurityGroup.is_id(group) {
            return Err(Error::malformed(Kind::SecurityGroup, group));
        }
    }
    interfaces::check(launch)?;
    mapping::check(&launch.block_devices)?;
    resolve::metadata_options(None, &launch.metadata)?;
    if let Some(user_data) = &launch.user_data {
        user_data::decode(user_data)?;
    }
    for (kind, tags) in &launch.tags {
        if !matches!(kind.as_str(), "instance" | "volume" | "network-interface") {
            return Err(Error::value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        tag::ops::check(tags)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn launch(instance_type: &str) -> Launch {
        Launch { instance_type: Some(instance_type.to_owned()), ..Launch::default() }
    }

    fn new(launch: Launch, token: Option<&str>) -> NewVersion {
        NewVersion { launch, client_token: token.map(str::to_owned), ..NewVersion::default() }
    }

    fn spec(name: &str, version: Option<&str>) -> launch::Template {
        launch::Template {
            name: Some(name.to_owned()),
            version: version.map(str::to_owned),
            ..launch::Template::default()
        }
    }

    async fn made(cx: &Context) -> LaunchTemplate {
        let data = Launch { key_name: Some("web".to_owned()), ..launch("t3.micro") };
        cx.write(|tx| create(tx, cx, "web", &new(data.clone(), Some("t")), &Tags::new()))
            .await
            .unwrap()
    }

    #[test]
    fn a_new_version_inherits_what_it_does_not_say() {
        let profile = launch::InstanceProfile { name: Some("web".to_owned()), arn: None };
        let source = Launch { iam_instance_profile: Some(profile.clone()), ..launch("t3.micro") };
        let inherited = inherit(&launch("t3.small"), &source);
        assert_eq!(inherited.iam_instance_profile, Some(profile));
        assert_eq!(inherited.instance_type.as_deref(), Some("t3.small"));
    }

    #[tokio::test]
    async fn versions_resolve_by_number_default_and_latest() {
        let cx = testing::context();
        let template = made(&cx).await;
        let add = new(launch("t3.small"), None);
        let (template, second) = cx
            .write(|tx| create_version(tx, &cx, &template, Some(Which::Number(1)), &add))
            .await
            .unwrap();
        assert_eq!(second.launch.key_name.as_deref(), Some("web"));
        let (template, third) = cx
            .write(|tx| create_version(tx, &cx, &template, None, &new(launch("t3.large"), None)))
            .await
            .unwrap();
        assert_eq!(third.launch.key_name, None);

        let resolved = |version| resolve(&cx.read(), &cx, &spec("web", version));
        for (version, number) in
            [(None, 1), (Some("$Default"), 1), (Some("$Latest"), 3), (Some("2"), 2)]
        {
            assert_eq!(resolved(version).unwrap().version_number, number, "{version:?}");
        }
        let code = |version| resolved(Some(version)).unwrap_err().code();
        assert_eq!(code("9"), "InvalidLaunchTemplateId.VersionNotFound");
        assert_eq!(code("newest"), "InvalidParameterValue");

        let template =
            cx.write(|tx| set_default(tx, &cx, &template, Which::Number(2))).await.unwrap();
        assert_eq!(resolved(None).unwrap().version_number, 2);
        let numbers: Vec<String> = ["1", "2", "3", "7"].map(str::to_owned).into();
        let deletions = cx.write(|tx| delete_versions(tx, &cx, &template, &numbers)).await.unwrap();
        let refused: Vec<bool> = deletions.iter().map(|d| d.refused.is_some()).collect();
        assert_eq!(refused, [false, true, false, true]);
        assert_eq!(resolved(Some("$Latest")).unwrap().version_number, 2);

        // Numbers are not used again.
        let add = new(launch("t3.nano"), None);
        let (_, fourth) =
            cx.write(|tx| create_version(tx, &cx, &template, None, &add)).await.unwrap();
        assert_eq!(fourth.number, 4);
    }

    #[tokio::test]
    async fn client_tokens_make_requests_idempotent() {
        let cx = testing::context();
        let template = made(&cx).await;
        assert_eq!(made(&cx).await.id, template.id);
        let other = new(launch("t3.nano"), Some("t"));
        let error = cx.write(|tx| create(tx, &cx, "web", &other, &Tags::new())).await;
        assert_eq!(error.unwrap_err().code(), "IdempotentParameterMismatch");

        let add = new(launch("t3.nano"), Some("v"));
        for _ in 0..2 {
            let (_, version) =
                cx.write(|tx| create_version(tx, &cx, &template, None, &add)).await.unwrap();
            assert_eq!(version.number, 2);
        }
    }

    #[tokio::test]
    async fn refusals() {
        let cx = testing::context();
        let template = made(&cx).await;
        let image = Launch { image_id: Some("debian".to_owned()), ..Launch::default() };
        for (name, data, code) in [
            ("web", launch("t3.nano"), "InvalidLaunchTemplateName.AlreadyExistsException"),
            ("ab", launch("t3.nano"), "InvalidLaunchTemplateName.MalformedException"),
            ("a b c", launch("t3.nano"), "InvalidLaunchTemplateName.MalformedException"),
            ("empty", Launch::default(), "InvalidParameterValue"),
            ("type", launch("t3.mega"), "InvalidInstanceType"),
            ("image", image, "InvalidAMIID.Malformed"),
        ] {
            let request = new(data, None);
            let error = cx.write(|tx| create(tx, &cx, name, &request, &Tags::new())).await;
            assert_eq!(error.unwrap_err().code(), code, "{name}");
        }
        cx.write(|tx| {
            delete(tx, &cx, &template);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        let error = resolve(&cx.read(), &cx, &spec("web", None)).unwrap_err();
        assert_eq!(error.code(), "InvalidLaunchTemplateName.NotFoundException");
        assert_eq!(versions(&cx.read(), &cx, &template.id), []);
    }
}
