//! Answers from the records, as they are at the moment of the question.
//!
//! Source: VPC User Guide, "DNS attributes for your VPC", "Amazon DNS server"; RFC 6303 and 6761 for
//! what is never asked of others.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::Snapshot;

use super::names::{self, Name};
use crate::ec2::elastic_ip::model::PublicAddress;
use crate::ec2::instance::spec::{private_dns_name, public_dns_name};
use crate::ec2::vpc::{self, Vpc};
use crate::ec2::vpc_endpoint::names as endpoints;
use crate::ec2::{elastic_ip, network_interface, vpc_peering};
use crate::elbv2::ops::load_balancer;
use crate::{Context, Env, region};

/// In every VPC, besides the address of `server`.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

const TTL_SECONDS: u32 = 60;
/// A zone that fails must be out of use soon.
const LOAD_BALANCER_TTL_SECONDS: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Addresses {
        addresses: Vec<Ipv4Addr>,
        ttl_seconds: u32,
    },
    /// The name of an address.
    Name {
        name: String,
        ttl_seconds: u32,
    },
    NoSuchName,
    /// Nothing is answered to this network.
    Refused,
    /// Others know.
    Elsewhere,
}

impl Answer {
    fn addresses(addresses: impl Into<Vec<Ipv4Addr>>) -> Answer {
        Answer::Addresses { addresses: addresses.into(), ttl_seconds: TTL_SECONDS }
    }

    fn name(name: impl Into<String>) -> Answer {
        Answer::Name { name: name.into(), ttl_seconds: TTL_SECONDS }
    }
}

/// The VPC's own resolver: its base plus two.
pub fn server(vpc: &Vpc) -> Ipv4Addr {
    vpc.cidr.nth(2)
}

/// The VPC that a network is, in whichever region.
pub fn vpc_of(env: &Env, network: &str) -> Option<(Context, Vpc)> {
    let snapshot = env.store.read();
    region::ALL.iter().find_map(|region| {
        let cx = context(env, region.name);
        let vpc = vpc::ops::vpc(&snapshot, &cx, network).ok()?;
        Some((cx, vpc))
    })
}

pub fn context(env: &Env, region: &str) -> Context {
    Context::service(env, &env.config.account, region, "route53resolver.amazonaws.com")
}

/// To whoever asks in the VPC. The name is in lower case, without a final dot.
pub fn inside(snapshot: &Snapshot, cx: &Context, vpc_id: &str, name: &str) -> Answer {
    let vpc = match vpc::ops::vpc(snapshot, cx, vpc_id) {
        Ok(vpc) if vpc.dns_support => vpc,
        _ => return Answer::Refused,
    };
    let is_here = |address| vpc.blocks().any(|block| block.contains(address));
    match names::parse(name) {
        Name::Private(address, region) if region == cx.region && is_here(address) => {
            Answer::addresses([address])
        }
        Name::Private(..) | Name::Nowhere => Answer::NoSuchName,
        Name::Reverse(address) if is_here(address) => {
            Answer::name(private_dns_name(&cx.region, address))
        }
        Name::Reverse(Ipv4Addr::LOCALHOST) => Answer::name("localhost"),
        Name::Reverse(address) if is_local(address) => Answer::NoSuchName,
        Name::Reverse(address) => name_of_public(snapshot, address),
        Name::Public(address, region) => match in_use(snapshot, address, &region) {
            // From within, the way is the shorter one.
            Some(holder) => Answer::addresses([private(snapshot, cx, &vpc, &holder)]),
            None => Answer::Elsewhere,
        },
        Name::LoadBalancer { name, of_aws } => {
            match load_balancer::live_nodes(snapshot, &cx.env, &name) {
                Some(nodes) => Answer::Addresses {
                    addresses: nodes.iter().map(|node| node.private_ip).collect(),
                    ttl_seconds: LOAD_BALANCER_TTL_SECONDS,
                },
                None if of_aws => Answer::Elsewhere,
                None => Answer::NoSuchName,
            }
        }
        Name::Service(service) => {
            let private = || endpoints::privately(snapshot, cx, &vpc.id, service.name, name);
            let found = vpc.dns_hostnames.then(private).flatten();
            Answer::addresses(found.unwrap_or_else(|| vec![service.address]))
        }
        Name::Endpoint { label, service, region } => {
            of_endpoint(snapshot, &cx.env, &label, service.name, &region)
        }
        Name::InstanceData => Answer::addresses([METADATA]),
        Name::Localhost => Answer::addresses([Ipv4Addr::LOCALHOST]),
        Name::Other => Answer::Elsewhere,
    }
}

/// To this host: public names alone.
pub fn outside(snapshot: &Snapshot, env: &Env, name: &str) -> Answer {
    match names::parse(name) {
        Name::LoadBalancer { name, .. } => match load_balancer::live_nodes(snapshot, env, &name) {
            Some(nodes) => Answer::Addresses {
                addresses: nodes.iter().filter_map(|node| node.public_ip).collect(),
                ttl_seconds: LOAD_BALANCER_TTL_SECONDS,
            },
            None => Answer::Elsewhere,
        },
        Name::Public(address, region) if in_use(snapshot, address, &region).is_some() => {
            Answer::addresses([address])
        }
        Name::Reverse(address) => name_of_public(snapshot, address),
        Name::Localhost => Answer::addresses([Ipv4Addr::LOCALHOST]),
        Name::Endpoint { label, service, region } => {
            of_endpoint(snapshot, env, &label, service.name, &region)
        }
        _ => Answer::Elsewhere,
    }
}

/// Its names are public, its addresses are not.
fn of_endpoint(snapshot: &Snapshot, env: &Env, label: &str, service: &str, region: &str) -> Answer {
    let there = context(env, region);
    let found = endpoints::named(snapshot, &there, service, label);
    found.map_or(Answer::NoSuchName, Answer::addresses)
}

/// The public address, if it is one of this cloud and of the region that its name says.
fn in_use(snapshot: &Snapshot, address: Ipv4Addr, region: &str) -> Option<Arc<PublicAddress>> {
    elastic_ip::ops::by_address(snapshot, address).filter(|found| found.region == region)
}

/// What a public address stands for in the VPC, and in those it is peered with that it lets resolve;
/// elsewhere it stands for itself.
fn private(snapshot: &Snapshot, cx: &Context, vpc: &Vpc, of: &PublicAddress) -> Ipv4Addr {
    let there = context(&cx.env, &of.region);
    let allows = |holder: &str| {
        let peering = vpc_peering::ops::between(snapshot, cx, &vpc.id, holder);
        peering.is_some_and(|peering| peering.other(&vpc.id).is_some_and(|side| side.allow_dns))
    };
    let of_vpc = of.association.as_ref().filter(|association| {
        let interface = network_interface::ops::by_id(snapshot, &there, &association.interface_id);
        let holder = interface.map(|interface| interface.vpc_id.clone()).unwrap_or_default();
        vpc.dns_hostnames && (holder == vpc.id || allows(&holder))
    });
    of_vpc.map_or(of.address, |association| association.private_ip)
}

fn name_of_public(snapshot: &Snapshot, address: Ipv4Addr) -> Answer {
    match elastic_ip::ops::by_address(snapshot, address) {
        Some(found) => Answer::name(public_dns_name(&found.region, address)),
        None => Answer::Elsewhere,
    }
}

/// Addresses whose names the outside cannot know.
fn is_local(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // RFC 6598.
    let shared = a == 100 && b & 0xc0 == 64;
    address.is_private() || address.is_loopback() || address.is_link_local() || shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::elastic_ip::model::Association;
    use crate::elbv2::model::{LoadBalancer, Node, Scheme};
    use crate::{elbv2, testing};

    fn addresses(found: &Answer) -> Vec<String> {
        match found {
            Answer::Addresses { addresses, .. } => {
                addresses.iter().map(Ipv4Addr::to_string).collect()
            }
            Answer::Name { name, .. } => vec![name.clone()],
            Answer::NoSuchName => vec!["none".to_owned()],
            Answer::Refused => vec!["refused".to_owned()],
            Answer::Elsewhere => vec!["elsewhere".to_owned()],
        }
    }

    #[test]
    fn names_in_a_vpc() {
        let cx = testing::context();
        let vpc = vpc::ops::default_vpc(&cx.read(), &cx).unwrap();
        assert_eq!(server(&vpc).to_string(), "172.31.0.2");
        for (name, expected) in [
            ("ip-172-31-0-5.ec2.internal", "172.31.0.5"),
            ("ip-172-31-0-5.us-east-1.compute.internal", "172.31.0.5"),
            ("ip-172-31-0-5.eu-west-1.compute.internal", "none"),
            ("ip-10-0-0-5.ec2.internal", "none"),
            ("5.0.31.172.in-addr.arpa", "ip-172-31-0-5.ec2.internal"),
            ("5.0.0.10.in-addr.arpa", "none"),
            ("253.169.254.169.in-addr.arpa", "none"),
            ("1.0.0.127.in-addr.arpa", "localhost"),
            ("8.8.8.8.in-addr.arpa", "elsewhere"),
            ("instance-data", "169.254.169.254"),
            ("localhost", "127.0.0.1"),
            ("printer", "none"),
            ("db.internal", "none"),
            ("sts.us-east-1.amazonaws.com", "198.19.255.7"),
            ("pictures.s3.eu-west-1.amazonaws.com", "198.19.255.1"),
            ("lambda.us-east-1.amazonaws.com", "elsewhere"),
            ("web-1.us-east-1.elb.localhost", "none"),
            ("web-1.us-east-1.elb.amazonaws.com", "elsewhere"),
            ("example.com", "elsewhere"),
        ] {
            assert_eq!(addresses(&inside(&cx.read(), &cx, &vpc.id, name)), [expected], "{name}");
        }
        let other = inside(&cx.read(), &cx, "vpc-0123", "sts.amazonaws.com");
        assert_eq!(other, Answer::Refused);
        let (found, same) = vpc_of(&cx.env, &vpc.id).unwrap();
        assert_eq!((found.region.as_str(), same), ("us-east-1", vpc));
        assert!(vpc_of(&cx.env, "vpc-0123").is_none());
    }

    #[tokio::test]
    async fn public_names_are_private_addresses_within_and_public_ones_without() {
        let cx = testing::context();
        let vpc_id = vpc::ops::default_vpc(&cx.read(), &cx).unwrap().id;
        let subnet = vpc::ops::subnets(&cx.read(), &cx).remove(0).id;
        let written = cx.write(|tx| {
            let address = elastic_ip::ops::allocate(tx, &cx, &Default::default())?;
            let new = network_interface::ops::New::in_subnet(&subnet, vec![]);
            let interface = network_interface::ops::create(tx, &cx, &new, None, None)?;
            let association = Association {
                id: "eipassoc-1".to_owned(),
                interface_id: interface.id.clone(),
                private_ip: interface.primary(),
            };
            tx.put(PublicAddress { association: Some(association), ..address.clone() });
            Ok::<_, crate::ec2::Error>((address.address, interface.primary()))
        });
        let (public, private) = written.await.unwrap();
        let name = public_dns_name("us-east-1", public);
        let other = public_dns_name("eu-west-1", public);
        let [a, b, c, d] = public.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        let snapshot = cx.read();
        assert_eq!(addresses(&inside(&snapshot, &cx, &vpc_id, &name)), [private.to_string()]);
        assert_eq!(addresses(&inside(&snapshot, &cx, &vpc_id, &other)), ["elsewhere"]);
        assert_eq!(
            addresses(&inside(&snapshot, &cx, &vpc_id, &reverse)),
            std::slice::from_ref(&name)
        );
        assert_eq!(addresses(&outside(&snapshot, &cx.env, &name)), [public.to_string()]);
        assert_eq!(addresses(&outside(&snapshot, &cx.env, &reverse)), [name]);
        let mut abroad = cx.clone();
        abroad.region = "eu-west-1".to_owned();
        let there = vpc::ops::default_vpc(&cx.read(), &abroad).unwrap().id;
        let name = public_dns_name("us-east-1", public);
        assert_eq!(addresses(&inside(&snapshot, &abroad, &there, &name)), [public.to_string()]);
    }

    #[tokio::test]
    async fn a_peered_vpc_resolves_public_names_where_it_is_let() {
        let cx = testing::context();
        let ok = |call, members: String| {
            let cx = cx.clone();
            async move { testing::ok(&cx, call, &members).await }
        };
        let there = vpc::ops::default_vpc(&cx.read(), &cx).unwrap().id;
        let subnet = vpc::ops::subnets(&cx.read(), &cx).remove(0).id;
        let here = ok("CreateVpc", "CidrBlock=10.0.0.0/16".to_owned()).await;
        let here = testing::text(&here, "vpcId");
        let hostnames = format!("VpcId={here}&EnableDnsHostnames.Value=true");
        ok("ModifyVpcAttribute", hostnames).await;
        let interface = ok("CreateNetworkInterface", format!("SubnetId={subnet}")).await;
        let private = testing::text(&interface, "privateIpAddress");
        let interface = testing::text(&interface, "networkInterfaceId");
        let address = ok("AllocateAddress", String::new()).await;
        let allocation = testing::text(&address, "allocationId");
        let associate = format!("AllocationId={allocation}&NetworkInterfaceId={interface}");
        ok("AssociateAddress", associate).await;
        let public = testing::text(&address, "publicIp");
        let name = public_dns_name("us-east-1", public.parse().unwrap());
        let resolved = || addresses(&inside(&cx.read(), &cx, &here, &name));
        let create = format!("VpcId={here}&PeerVpcId={there}");
        let peering = ok("CreateVpcPeeringConnection", create).await;
        let id = testing::text(&peering, "vpcPeeringConnectionId");
        let id = format!("VpcPeeringConnectionId={id}");
        ok("AcceptVpcPeeringConnection", id.clone()).await;
        assert_eq!(resolved(), [public.as_str()]);
        let allow = "PeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc=true";
        // That the others may resolve ours is another thing.
        ok("ModifyVpcPeeringConnectionOptions", format!("{id}&Requester{allow}")).await;
        assert_eq!(resolved(), [public.as_str()]);
        ok("ModifyVpcPeeringConnectionOptions", format!("{id}&Accepter{allow}")).await;
        assert_eq!(resolved(), [private]);
        ok("DeleteVpcPeeringConnection", id).await;
        assert_eq!(resolved(), [public]);
    }

    #[tokio::test]
    async fn load_balancers_have_the_addresses_of_their_live_zones() {
        let cx = testing::context();
        let vpc_id = vpc::ops::default_vpc(&cx.read(), &cx).unwrap().id;
        let name = "web-1.us-east-1.elb.localhost";
        let owner = LoadBalancer {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: "app/web/1".to_owned(),
            arn: "arn:web".to_owned(),
            name: "web".to_owned(),
            dns_name: name.to_owned(),
            scheme: Scheme::InternetFacing,
            vpc_id: vpc_id.clone(),
            security_groups: vec![],
            created_at: cx.now,
            active: true,
            attributes: elbv2::attribute::Set::new(),
            tags: Default::default(),
        };
        let node = |n: u8, zone: &str, leaving| Node {
            account: cx.account.clone(),
            region: cx.region.clone(),
            load_balancer: owner.arn.clone(),
            zone: zone.to_owned(),
            subnet_id: format!("subnet-{n}"),
            vpc_id: vpc_id.clone(),
            private_ip: [172, 31, 0, n].into(),
            public_ip: Some([127, 64, 0, n].into()),
            leaving,
        };
        let nodes = [
            node(1, "us-east-1a", false),
            node(2, "us-east-1b", false),
            node(3, "us-east-1c", false),
            node(4, "us-east-1a", true),
        ];
        let written = cx.write(|tx| {
            tx.put(owner.clone());
            nodes.iter().for_each(|node| tx.put(node.clone()));
            Ok::<_, store::Error>(())
        });
        written.await.unwrap();
        cx.env.balancers.apply("us-east-1a", Default::default());
        cx.env.balancers.apply("us-east-1c", Default::default());
        let sorted = |answer: Answer| {
            let mut found = addresses(&answer);
            found.sort();
            found
        };
        for name in [name, "web-1.us-east-1.elb.amazonaws.com"] {
            let found = inside(&cx.read(), &cx, &vpc_id, name);
            assert_eq!(sorted(found), ["172.31.0.1", "172.31.0.3"]);
            let found = outside(&cx.read(), &cx.env, name);
            assert_eq!(sorted(found), ["127.64.0.1", "127.64.0.3"]);
        }
        cx.env.balancers.kill("us-east-1a");
        assert_eq!(sorted(inside(&cx.read(), &cx, &vpc_id, name)), ["172.31.0.3"]);
    }
}
