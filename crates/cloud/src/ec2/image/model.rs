//! A machine image.

use compute::driver::Layer;
use compute::image::Os;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Of every image and of the instances launched from it.
pub const ROOT_DEVICE: &str = "/dev/xvda";
/// Size and type that the root volume says it has, unless the launch says otherwise.
pub const ROOT_SIZE_GIB: i32 = 8;
pub const ROOT_VOLUME_TYPE: &str = "gp3";

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
    pub created: Timestamp,
}

impl Image {
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
