//! AWS's public parameters for machine images: `/aws/service/…` names the newest image of a system. Here
//! that is the newest one of this system that this installation has, by what its os-release said; never
//! another one. Where there is none, the error names the command that gets it.

use store::Snapshot;

use super::model::{Kind, Tier, Version};
use super::{Error, Result};
use crate::Context;
use crate::ec2::image;

/// What a public parameter asks for.
#[derive(Debug, PartialEq)]
struct Wanted {
    /// As in os-release: `ID`, and `VERSION_ID` or `VERSION_CODENAME`.
    id: &'static str,
    version: String,
    architecture: &'static str,
    /// What gets it.
    command: String,
}

/// The image that this public parameter stands for; `None` if it is none.
pub fn image_id(snapshot: &Snapshot, cx: &Context, name: &str) -> Option<Result<image::Image>> {
    let wanted = wanted(name)?;
    let fits = |image: &image::Image| {
        image.os.id == wanted.id
            && (image.os.version_id == wanted.version || image.os.codename == wanted.version)
            && image.architecture == wanted.architecture
            && image.stage == image::model::Stage::Available
            && !image.disabled
    };
    let found = image::ops::images(snapshot, cx).into_iter().filter(fits);
    let newest = found.max_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    Some(
        newest.ok_or_else(|| Error::NoSuchImage { name: name.to_owned(), command: wanted.command }),
    )
}

/// The same as a parameter's version; it may be asked for by its ARN, too.
pub fn version(snapshot: &Snapshot, cx: &Context, text: &str) -> Option<Result<Version>> {
    let prefix = format!("arn:aws:ssm:{}::parameter", cx.region);
    let name = text.strip_prefix(&prefix).unwrap_or(text);
    Some(image_id(snapshot, cx, name)?.map(|image| Version {
        account: String::new(),
        region: cx.region.clone(),
        name: name.to_owned(),
        version: 1,
        kind: Kind::String,
        value: image.id,
        description: None,
        allowed_pattern: None,
        tier: Tier::Standard,
        data_type: "aws:ec2:image".to_owned(),
        modified_at: image.created,
        modified_by: String::new(),
    }))
}

fn wanted(name: &str) -> Option<Wanted> {
    let path: Vec<&str> = name.strip_prefix("/aws/service/")?.split('/').collect();
    let (id, version, architecture, command) = match path[..] {
        ["ami-amazon-linux-latest", which] => {
            let (version, rest) = match which.strip_prefix("al2023-ami-") {
                Some(rest) => ("2023", rest),
                None => ("2", which.strip_prefix("amzn2-ami-")?),
            };
            let architecture = match rest {
                rest if rest.contains("arm64") => "arm64",
                rest if rest.contains("x86_64") => "x86_64",
                _ => return None,
            };
            let command = format!("drover image pull REGISTRY/amazonlinux/amazonlinux:{version}");
            ("amzn", version, architecture, command)
        }
        [
            "canonical",
            "ubuntu",
            "server" | "server-minimal",
            release,
            "stable",
            "current",
            arch,
            "hvm",
            "ebs-gp2" | "ebs-gp3",
            "ami-id",
        ] => {
            let command = format!("drover image build ubuntu --release {release}");
            ("ubuntu", release, architecture(arch)?, command)
        }
        ["debian", "release" | "daily", release, "latest", arch] => {
            let command = format!("drover image build debian --release {release}");
            ("debian", release, architecture(arch)?, command)
        }
        _ => return None,
    };
    Some(Wanted { id, version: version.to_owned(), architecture, command })
}

/// Debian's and Ubuntu's words to AWS's.
fn architecture(name: &str) -> Option<&'static str> {
    match name {
        "amd64" => Some("x86_64"),
        "arm64" => Some("arm64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use compute::Layer;
    use compute::image::Os;

    use super::*;
    use crate::ec2::image::ops::{Content, register_local};
    use crate::testing;

    #[test]
    fn names_are_read_as_aws_publishes_them() {
        for (name, id, version, architecture) in [
            ("ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "amzn", "2023", "x86_64"),
            (
                "ami-amazon-linux-latest/al2023-ami-minimal-kernel-6.1-arm64",
                "amzn",
                "2023",
                "arm64",
            ),
            ("ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2", "amzn", "2", "x86_64"),
            (
                "canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
                "ubuntu",
                "22.04",
                "x86_64",
            ),
            (
                "canonical/ubuntu/server/noble/stable/current/arm64/hvm/ebs-gp3/ami-id",
                "ubuntu",
                "noble",
                "arm64",
            ),
            ("debian/release/12/latest/amd64", "debian", "12", "x86_64"),
        ] {
            let wanted = wanted(&format!("/aws/service/{name}")).expect(name);
            assert_eq!(
                (wanted.id, wanted.version.as_str(), wanted.architecture),
                (id, version, architecture)
            );
        }
        for name in [
            "/aws/service/global-infrastructure/regions",
            "/my/debian/release/12/latest/amd64",
            "/aws/service/debian/release/12/latest/mips",
        ] {
            assert_eq!(wanted(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn the_newest_image_of_the_system_and_no_other() {
        let cx = testing::context();
        let name = "/aws/service/debian/release/12/latest/amd64";
        let asked = || image_id(&cx.read(), &cx, name).unwrap();
        let error = asked().unwrap_err();
        assert_eq!(error.code(), "ParameterNotFound");
        assert!(error.to_string().contains("drover image build debian --release 12"), "{error}");
        let mut newest = String::new();
        for (image, version, counts) in
            [("old", "11", false), ("first", "12", true), ("second", "12", true)]
        {
            let os = Os { id: "debian".into(), version_id: version.into(), ..Os::default() };
            let layers = vec![Layer::Dir(PathBuf::from("/images").join(image))];
            let content = Content { layers, os, ..Content::default() };
            let made =
                cx.write(|tx| register_local(tx, &cx, image, content.clone(), "")).await.unwrap();
            if counts {
                newest = newest.max(made.id);
            }
        }
        if image::model::host_architecture() == "x86_64" {
            assert_eq!(asked().unwrap().id, newest);
        }
    }
}
