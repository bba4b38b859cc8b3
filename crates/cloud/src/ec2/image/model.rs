//! A machine image.

use compute::driver::Layer;
use compute::image::Os;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::ec2::client_token::ClientToken;
use crate::ec2::snapshot::Permissions;
use crate::ec2::volume::mapping::{Device, What};
use crate::ec2::volume::{self, Performance};

/// Of every image and of the instances launched from it.
pub const ROOT_DEVICE: &str = "/dev/xvda";
/// Of the root volume, where neither the image nor the launch says otherwise.
pub const ROOT_SIZE_GIB: u32 = 8;
/// Of a root that is instance store. Source: Amazon EC2 User Guide, "Root device type", 10 GiB at most.
pub const INSTANCE_STORE_ROOT_GIB: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub account: String,
    pub region: String,
    pub id: String,
    /// Unique among the account's images of the region.
    pub name: String,
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// What is pid 1 of its instances.
    #[serde(default)]
    pub init: compute::Init,
    /// What its os-release said when it was registered.
    #[serde(default)]
    pub os: Os,
    /// Which of them the storage keeps.
    #[serde(default)]
    pub frozen: Vec<String>,
    #[serde(default)]
    pub root_device: RootDevice,
    /// The root first. Empty: a root as every image has it.
    #[serde(default)]
    pub mapping: Vec<Device>,
    #[serde(default)]
    pub stage: Stage,
    #[serde(default)]
    pub permissions: Permissions,
    #[serde(default)]
    pub deprecate_at: Option<Timestamp>,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub protection: Protection,
    /// What it was made of.
    #[serde(default)]
    pub origin: Origin,
    #[serde(default)]
    pub client_token: Option<ClientToken>,
    pub created: Timestamp,
}

/// What the roots of its instances are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootDevice {
    /// A volume.
    #[default]
    Ebs,
    /// A disk of the host: gone with the instance, which cannot be stopped.
    InstanceStore,
}

impl RootDevice {
    pub fn name(self) -> &'static str {
        match self {
            RootDevice::Ebs => "ebs",
            RootDevice::InstanceStore => "instance-store",
        }
    }
}

/// Whether its bytes are all there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Available,
    /// Until its snapshots are complete.
    Pending,
    Failed(String),
}

/// Against being deregistered. Source: Amazon EC2 User Guide, "Protect an Amazon EC2 AMI from
/// deregistration".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protection {
    #[default]
    Off,
    On {
        with_cooldown: bool,
    },
    /// Switched off, but in force until then.
    Cooling {
        until: Timestamp,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub instance_id: Option<String>,
    /// With its region.
    pub image: Option<(String, String)>,
}

impl Image {
    /// The root first, if it is a volume.
    pub fn devices(&self) -> Vec<Device> {
        if !self.mapping.is_empty() || self.root_device == RootDevice::InstanceStore {
            return self.mapping.clone();
        }
        let performance =
            Performance { kind: volume::Kind::Gp3, iops: Some(3000), throughput: Some(125) };
        let what = What::Ebs {
            snapshot_id: None,
            size_gib: ROOT_SIZE_GIB,
            performance,
            delete_on_termination: true,
            encrypted: false,
        };
        vec![Device { name: ROOT_DEVICE.to_owned(), what }]
    }

    /// Ids of those that its devices are made of.
    pub fn snapshots(&self) -> impl Iterator<Item = &String> {
        self.mapping.iter().filter_map(|device| match &device.what {
            What::Ebs { snapshot_id, .. } => snapshot_id.as_ref(),
            What::Ephemeral(_) => None,
        })
    }

    /// The state EC2 shows.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Available if self.disabled => "disabled",
            Stage::Available => "available",
            Stage::Pending => "pending",
            Stage::Failed(_) => "failed",
        }
    }

    pub fn is_deprecated(&self, now: Timestamp) -> bool {
        self.deprecate_at.is_some_and(|at| at <= now)
    }

    /// Whether it cannot be deregistered now.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        match self.protection {
            Protection::Off => false,
            Protection::On { .. } => true,
            Protection::Cooling { until } => now < until,
        }
    }

    /// As AWS writes it for images made from an instance: the owner and the name.
    pub fn location(&self) -> String {
        format!("{}/{}", self.account, self.name)
    }

    /// `2026-01-02T03:04:05.000Z`
    pub fn creation_date(&self) -> String {
        let ms = self.created.0.rem_euclid(1000);
        format!("{}T{}.{ms:03}Z", self.created.date(), self.created.time_of_day())
    }
}

impl store::Record for Image {
    const TABLE: &'static str = "ec2_images";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// The host's, in AWS's words: images here run on the host's own processor.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}
