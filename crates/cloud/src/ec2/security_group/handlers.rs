//! Security groups on the wire.

mod relations;

use store::Snapshot;
use wire::ec2 as w;

use super::describe;
use super::model::{Direction, Peer, Rule, SecurityGroup};
use super::ops::{self, Revoked};
use super::permission::{Described, GroupPair, Permission, PrefixListRef, Single};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateSecurityGroup, _, _, _>(create),
        serve::<w::DeleteSecurityGroup, _, _, _>(delete),
        serve::<w::DescribeSecurityGroups, _, _, _>(describe_groups),
        serve::<w::DescribeSecurityGroupRules, _, _, _>(describe_rules),
        serve::<w::AuthorizeSecurityGroupIngress, _, _, _>(authorize_ingress),
        serve::<w::AuthorizeSecurityGroupEgress, _, _, _>(authorize_egress),
        serve::<w::RevokeSecurityGroupIngress, _, _, _>(revoke_ingress),
        serve::<w::RevokeSecurityGroupEgress, _, _, _>(revoke_egress),
        serve::<w::ModifySecurityGroupRules, _, _, _>(modify_rules),
        serve::<w::DescribeSecurityGroupReferences, _, _, _>(relations::references),
        serve::<w::DescribeStaleSecurityGroups, _, _, _>(relations::stale),
        serve::<w::GetSecurityGroupsForVpc, _, _, _>(relations::for_vpc),
        serve::<w::UpdateSecurityGroupRuleDescriptionsIngress, _, _, _>(update_ingress),
        serve::<w::UpdateSecurityGroupRuleDescriptionsEgress, _, _, _>(update_egress),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateSecurityGroupRequest,
) -> Result<w::CreateSecurityGroupResult> {
    let tags = tags_of_type(input.tag_specifications, "security-group")?;
    let (name, description) = (&input.group_name, &input.description);
    let group = cx
        .write(|tx| {
            let vpc_id = input.vpc_id.as_deref();
            let group = ops::create(tx, &cx, name, description, vpc_id, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(group)
        })
        .await?;
    Ok(w::CreateSecurityGroupResult {
        group_id: Some(group.id.clone()),
        security_group_arn: Some(arn(&cx, &group)),
        tags: tags_out(tags),
    })
}

fn arn(cx: &Context, group: &SecurityGroup) -> String {
    cx.arn("ec2", &format!("security-group/{}", group.id))
}

async fn delete(
    cx: Context,
    input: w::DeleteSecurityGroupRequest,
) -> Result<w::DeleteSecurityGroupResult> {
    let (id, name) = (input.group_id.as_deref(), input.group_name.as_deref());
    let id = cx
        .write(|tx| {
            let group = ops::find(tx, &cx, id, name)?;
            ops::delete(tx, &cx, &group)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(group.id.clone())
        })
        .await?;
    Ok(w::DeleteSecurityGroupResult { group_id: Some(id), r#return: Some(true) })
}

async fn describe_groups(
    cx: Context,
    input: w::DescribeSecurityGroupsRequest,
) -> Result<w::DescribeSecurityGroupsResult> {
    let snapshot = cx.read();
    let ids = input.group_ids.unwrap_or_default();
    let names = input.group_names.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::groups(&snapshot, &cx, &ids, &names, &listing)?;
    dry_run(input.dry_run)?;
    let permissions = |group: &SecurityGroup, direction| {
        let mut all = permissions_out(group, direction);
        let pairs = all.iter_mut().flat_map(|one| one.user_id_group_pairs.iter_mut().flatten());
        pairs.for_each(|pair| relations::show_peering(&snapshot, &cx, group, pair));
        all
    };
    let group = |group: &SecurityGroup| w::SecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        ip_permissions: Some(permissions(group, Direction::Ingress)),
        ip_permissions_egress: Some(permissions(group, Direction::Egress)),
        owner_id: Some(group.account.clone()),
        security_group_arn: Some(arn(&cx, group)),
        tags: tags_out(tag::ops::tags_of(&snapshot, &cx, &group.id)),
        vpc_id: Some(group.vpc_id.clone()),
    };
    let security_groups = Some(found.iter().map(|found| group(found)).collect());
    Ok(w::DescribeSecurityGroupsResult { next_token, security_groups })
}

/// Rules for the same traffic stand in one permission.
fn permissions_out(group: &SecurityGroup, direction: Direction) -> Vec<w::IpPermission> {
    let mut all: Vec<(&Rule, w::IpPermission)> = Vec::new();
    for rule in group.rules_of(direction) {
        let known = all.iter().position(|(first, _)| first.traffic == rule.traffic);
        let at = known.unwrap_or_else(|| {
            all.push((rule, traffic_out(rule)));
            all.len() - 1
        });
        add_peer(&mut all[at].1, &group.account, &rule.peer, rule.description.clone());
    }
    all.into_iter().map(|(_, permission)| permission).collect()
}

fn traffic_out(rule: &Rule) -> w::IpPermission {
    let (from_port, to_port) = rule.traffic.ports.unzip();
    w::IpPermission {
        from_port,
        ip_protocol: Some(rule.traffic.protocol.clone()),
        ip_ranges: Some(vec![]),
        ipv6_ranges: Some(vec![]),
        prefix_list_ids: Some(vec![]),
        to_port,
        user_id_group_pairs: Some(vec![]),
    }
}

fn add_peer(
    permission: &mut w::IpPermission,
    account: &str,
    peer: &Peer,
    description: Option<String>,
) {
    match peer {
        Peer::Ipv4(cidr) => {
            let range = w::IpRange { cidr_ip: Some(cidr.clone()), description };
            permission.ip_ranges.get_or_insert_default().push(range);
        }
        Peer::Ipv6(cidr) => {
            let range = w::Ipv6Range { cidr_ipv6: Some(cidr.clone()), description };
            permission.ipv6_ranges.get_or_insert_default().push(range);
        }
        Peer::PrefixList(id) => {
            let list = w::PrefixListId { prefix_list_id: Some(id.clone()), description };
            permission.prefix_list_ids.get_or_insert_default().push(list);
        }
        Peer::Group(id) => {
            let pair = w::UserIdGroupPair {
                description,
                group_id: Some(id.clone()),
                user_id: Some(account.to_owned()),
                ..Default::default()
            };
            permission.user_id_group_pairs.get_or_insert_default().push(pair);
        }
    }
}

async fn describe_rules(
    cx: Context,
    input: w::DescribeSecurityGroupRulesRequest,
) -> Result<w::DescribeSecurityGroupRulesResult> {
    let snapshot = cx.read();
    let ids = input.security_group_rule_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::rules(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let rules = found.iter().map(|(group, rule)| rule_out(&snapshot, &cx, group, rule)).collect();
    Ok(w::DescribeSecurityGroupRulesResult { next_token, security_group_rules: Some(rules) })
}

fn rule_out(
    snapshot: &Snapshot,
    cx: &Context,
    group: &SecurityGroup,
    rule: &Rule,
) -> w::SecurityGroupRule {
    let (from_port, to_port) = ports(rule);
    w::SecurityGroupRule {
        cidr_ipv4: ipv4(&rule.peer),
        cidr_ipv6: ipv6(&rule.peer),
        description: rule.description.clone(),
        from_port,
        group_id: Some(group.id.clone()),
        group_owner_id: Some(group.account.clone()),
        ip_protocol: Some(rule.traffic.protocol.clone()),
        is_egress: Some(rule.direction == Direction::Egress),
        prefix_list_id: prefix_list(&rule.peer),
        referenced_group_info: referenced(&rule.peer).map(|id| w::ReferencedSecurityGroup {
            group_id: Some(id),
            user_id: Some(group.account.clone()),
            ..Default::default()
        }),
        security_group_rule_arn: Some(cx.arn("ec2", &format!("security-group-rule/{}", rule.id))),
        security_group_rule_id: Some(rule.id.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &rule.id)),
        to_port,
    }
}

/// A rule on its own has -1 where a permission has no ports.
fn ports(rule: &Rule) -> (Option<i32>, Option<i32>) {
    let (from, to) = rule.traffic.ports.unwrap_or((-1, -1));
    (Some(from), Some(to))
}

fn ipv4(peer: &Peer) -> Option<String> {
    if let Peer::Ipv4(cidr) = peer { Some(cidr.clone()) } else { None }
}

fn ipv6(peer: &Peer) -> Option<String> {
    if let Peer::Ipv6(cidr) = peer { Some(cidr.clone()) } else { None }
}

fn prefix_list(peer: &Peer) -> Option<String> {
    if let Peer::PrefixList(id) = peer { Some(id.clone()) } else { None }
}

fn referenced(peer: &Peer) -> Option<String> {
    if let Peer::Group(id) = peer { Some(id.clone()) } else { None }
}

/// A request's permissions, in either of the two forms it may have.
fn permissions_in(
    permissions: Option<Vec<w::IpPermission>>,
    short: Option<Permission>,
) -> Result<Vec<Permission>> {
    match (permissions, short) {
        (Some(_), Some(_)) => Err(Error::combination(
            "The parameter 'ipPermissions' may not be used in combination with 'ipProtocol'",
        )),
        (None, short) => Ok(short.into_iter().collect()),
        (Some(permissions), None) => Ok(permissions.into_iter().map(permission_in).collect()),
    }
}

fn permission_in(permission: w::IpPermission) -> Permission {
    let ipv4 = |range: w::IpRange| Described {
        cidr: range.cidr_ip.unwrap_or_default(),
        description: range.description,
    };
    let ipv6 = |range: w::Ipv6Range| Described {
        cidr: range.cidr_ipv6.unwrap_or_default(),
        description: range.description,
    };
    let list = |list: w::PrefixListId| PrefixListRef {
        id: list.prefix_list_id.unwrap_or_default(),
        description: list.description,
    };
    // What AWS says of a peering is its to say: a client that sends it back means nothing by it.
    let group = |pair: w::UserIdGroupPair| GroupPair {
        id: pair.group_id,
        name: pair.group_name,
        user_id: pair.user_id,
        vpc_id: pair.vpc_id,
        peering_connection_id: pair.vpc_peering_connection_id,
        description: pair.description,
    };
    Permission {
        protocol: permission.ip_protocol,
        from_port: permission.from_port,
        to_port: permission.to_port,
        ipv4: permission.ip_ranges.unwrap_or_default().into_iter().map(ipv4).collect(),
        ipv6: permission.ipv6_ranges.unwrap_or_default().into_iter().map(ipv6).collect(),
        groups: permission.user_id_group_pairs.unwrap_or_default().into_iter().map(group).collect(),
        prefix_lists: permission
            .prefix_list_ids
            .unwrap_or_default()
            .into_iter()
            .map(list)
            .collect(),
    }
}

/// The form without a list, of ingress only: one permission from one block or one group.
struct Short {
    protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr: Option<String>,
    source_name: Option<String>,
    source_owner: Option<String>,
}

impl Short {
    fn permission(self) -> Option<Permission> {
        let Short { protocol, from_port, to_port, cidr, source_name, source_owner } = self;
        let anything = protocol.is_some()
            || from_port.is_some()
            || to_port.is_some()
            || cidr.is_some()
            || source_name.is_some()
            || source_owner.is_some();
        let described = |cidr| Described { cidr, description: None };
        let pair =
            |name| GroupPair { name: Some(name), user_id: source_owner, ..GroupPair::default() };
        anything.then(|| Permission {
            // A group alone stands for all its traffic.
            protocol: protocol.or_else(|| source_name.is_some().then(|| "-1".to_owned())),
            from_port,
            to_port,
            ipv4: cidr.into_iter().map(described).collect(),
            groups: source_name.map(pair).into_iter().collect(),
            ..Permission::default()
        })
    }

    /// "Not supported. Use a set of IP permissions", says AWS of egress.
    fn refuse(self) -> Result<()> {
        match self.permission() {
            None => Ok(()),
            Some(_) => Err(Error::combination("Use 'ipPermissions' to specify an egress rule.")),
        }
    }
}

async fn authorize_ingress(
    cx: Context,
    input: w::AuthorizeSecurityGroupIngressRequest,
) -> Result<w::AuthorizeSecurityGroupIngressResult> {
    let short = Short {
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        cidr: input.cidr_ip,
        source_name: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    };
    let permissions = permissions_in(input.ip_permissions, short.permission())?;
    let target = (input.group_id.as_deref(), input.group_name.as_deref());
    let specs = input.tag_specifications;
    let rules =
        authorize(&cx, target, Direction::Ingress, permissions, specs, input.dry_run).await?;
    Ok(w::AuthorizeSecurityGroupIngressResult {
        r#return: Some(true),
        security_group_rules: Some(rules),
    })
}

async fn authorize_egress(
    cx: Context,
    input: w::AuthorizeSecurityGroupEgressRequest,
) -> Result<w::AuthorizeSecurityGroupEgressResult> {
    Short {
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        cidr: input.cidr_ip,
        source_name: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    }
    .refuse()?;
    let permissions = permissions_in(input.ip_permissions, None)?;
    let target = (Some(input.group_id.as_str()), None);
    let specs = input.tag_specifications;
    let rules =
        authorize(&cx, target, Direction::Egress, permissions, specs, input.dry_run).await?;
    Ok(w::AuthorizeSecurityGroupEgressResult {
        r#return: Some(true),
        security_group_rules: Some(rules),
    })
}

async fn authorize(
    cx: &Context,
    (id, name): (Option<&str>, Option<&str>),
    direction: Direction,
    permissions: Vec<Permission>,
    specs: Option<Vec<w::TagSpecification>>,
    dry: Option<bool>,
) -> Result<Vec<w::SecurityGroupRule>> {
    let tags = tags_of_type(specs, "security-group-rule")?;
    let (group, rules) = cx
        .write(|tx| {
            let group = ops::find(tx, cx, id, name)?;
            let rules = ops::authorize(tx, cx, &group, direction, &permissions, &tags)?;
            dry_run(dry)?;
            Ok::<_, Error>((group, rules))
        })
        .await?;
    let snapshot = cx.read();
    Ok(rules.iter().map(|rule| rule_out(&snapshot, cx, &group, rule)).collect())
}

async fn revoke_ingress(
    cx: Context,
    input: w::RevokeSecurityGroupIngressRequest,
) -> Result<w::RevokeSecurityGroupIngressResult> {
    let short = Short {
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        cidr: input.cidr_ip,
        source_name: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    };
    let permissions = permissions_in(input.ip_permissions, short.permission())?;
    let target = (input.group_id.as_deref(), input.group_name.as_deref());
    let ids = input.security_group_rule_ids;
    let (revoked, unknown) =
        revoke(&cx, target, Direction::Ingress, permissions, ids, input.dry_run).await?;
    Ok(w::RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked),
        unknown_ip_permissions: Some(unknown),
    })
}

async fn revoke_egress(
    cx: Context,
    input: w::RevokeSecurityGroupEgressRequest,
) -> Result<w::RevokeSecurityGroupEgressResult> {
    Short {
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        cidr: input.cidr_ip,
        source_name: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    }
    .refuse()?;
    let permissions = permissions_in(input.ip_permissions, None)?;
    let target = (Some(input.group_id.as_str()), None);
    let ids = input.security_group_rule_ids;
    let (revoked, unknown) =
        revoke(&cx, target, Direction::Egress, permissions, ids, input.dry_run).await?;
    Ok(w::RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked),
        unknown_ip_permissions: Some(unknown),
    })
}

async fn revoke(
    cx: &Context,
    (id, name): (Option<&str>, Option<&str>),
    direction: Direction,
    permissions: Vec<Permission>,
    rule_ids: Option<Vec<String>>,
    dry: Option<bool>,
) -> Result<(Vec<w::RevokedSecurityGroupRule>, Vec<w::IpPermission>)> {
    if rule_ids.is_some() && !permissions.is_empty() {
        return Err(Error::combination(
            "The parameter 'ipPermissions' may not be used in combination with \
             'securityGroupRuleIds'",
        ));
    }
    let (group, Revoked { rules, unknown }) = cx
        .write(|tx| {
            let group = ops::find(tx, cx, id, name)?;
            let revoked = match &rule_ids {
                Some(ids) => ops::revoke_ids(tx, cx, &group, direction, ids)?,
                None => ops::revoke(tx, cx, &group, direction, &permissions)?,
            };
            dry_run(dry)?;
            Ok::<_, Error>((group, revoked))
        })
        .await?;
    let revoked = |rule: &Rule| {
        let (from_port, to_port) = ports(rule);
        w::RevokedSecurityGroupRule {
            cidr_ipv4: ipv4(&rule.peer),
            cidr_ipv6: ipv6(&rule.peer),
            description: rule.description.clone(),
            from_port,
            group_id: Some(group.id.clone()),
            ip_protocol: Some(rule.traffic.protocol.clone()),
            is_egress: Some(direction == Direction::Egress),
            prefix_list_id: prefix_list(&rule.peer),
            referenced_group_id: referenced(&rule.peer),
            security_group_rule_id: Some(rule.id.clone()),
            to_port,
        }
    };
    let unknown_out = |single: Single| {
        let mut permission = w::IpPermission {
            from_port: single.traffic.ports.map(|(from, _)| from),
            ip_protocol: Some(single.traffic.protocol),
            to_port: single.traffic.ports.map(|(_, to)| to),
            ..Default::default()
        };
        add_peer(&mut permission, &group.account, &single.peer, single.description);
        permission
    };
    let unknown = unknown.into_iter().map(unknown_out).collect();
    Ok((rules.iter().map(revoked).collect(), unknown))
}

async fn modify_rules(
    cx: Context,
    input: w::ModifySecurityGroupRulesRequest,
) -> Result<w::ModifySecurityGroupRulesResult> {
    let change = |update: w::SecurityGroupRuleUpdate| {
        let rule = update.security_group_rule.unwrap_or_default();
        let described = |cidr| Described { cidr, description: rule.description.clone() };
        let pair = |id| GroupPair {
            id: Some(id),
            description: rule.description.clone(),
            ..GroupPair::default()
        };
        let list = |id| PrefixListRef { id, description: rule.description.clone() };
        let permission = Permission {
            protocol: rule.ip_protocol,
            from_port: rule.from_port,
            to_port: rule.to_port,
            ipv4: rule.cidr_ipv4.into_iter().map(described).collect(),
            ipv6: rule.cidr_ipv6.into_iter().map(described).collect(),
            groups: rule.referenced_group_id.into_iter().map(pair).collect(),
            prefix_lists: rule.prefix_list_id.into_iter().map(list).collect(),
        };
        (update.security_group_rule_id, permission)
    };
    let changes: Vec<(String, Permission)> =
        input.security_group_rules.into_iter().map(change).collect();
    cx.write(|tx| {
        let group = ops::group(tx, &cx, &input.group_id)?;
        ops::modify_rules(tx, &cx, &group, &changes)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ModifySecurityGroupRulesResult { r#return: Some(true) })
}

async fn update_ingress(
    cx: Context,
    input: w::UpdateSecurityGroupRuleDescriptionsIngressRequest,
) -> Result<w::UpdateSecurityGroupRuleDescriptionsIngressResult> {
    update(&cx, Direction::Ingress, input).await?;
    Ok(w::UpdateSecurityGroupRuleDescriptionsIngressResult { r#return: Some(true) })
}

async fn update_egress(
    cx: Context,
    input: w::UpdateSecurityGroupRuleDescriptionsEgressRequest,
) -> Result<w::UpdateSecurityGroupRuleDescriptionsEgressResult> {
    let input = w::UpdateSecurityGroupRuleDescriptionsIngressRequest {
        dry_run: input.dry_run,
        group_id: input.group_id,
        group_name: input.group_name,
        ip_permissions: input.ip_permissions,
        security_group_rule_descriptions: input.security_group_rule_descriptions,
    };
    update(&cx, Direction::Egress, input).await?;
    Ok(w::UpdateSecurityGroupRuleDescriptionsEgressResult { r#return: Some(true) })
}

async fn update(
    cx: &Context,
    direction: Direction,
    input: w::UpdateSecurityGroupRuleDescriptionsIngressRequest,
) -> Result<()> {
    let (id, name) = (input.group_id.as_deref(), input.group_name.as_deref());
    let permissions = permissions_in(input.ip_permissions, None)?;
    let described = |item: w::SecurityGroupRuleDescription| {
        (item.security_group_rule_id.unwrap_or_default(), item.description)
    };
    let descriptions: Option<Vec<(String, Option<String>)>> = input
        .security_group_rule_descriptions
        .map(|items| items.into_iter().map(described).collect());
    if descriptions.is_some() && !permissions.is_empty() {
        return Err(Error::combination(
            "The parameter 'ipPermissions' may not be used in combination with \
             'securityGroupRuleDescriptions'",
        ));
    }
    cx.write(|tx| {
        let group = ops::find(tx, cx, id, name)?;
        match &descriptions {
            Some(descriptions) => ops::describe_rule_ids(tx, &group, direction, descriptions)?,
            None => ops::describe_permissions(tx, cx, &group, direction, &permissions)?,
        }
        dry_run(input.dry_run)
    })
    .await
}
