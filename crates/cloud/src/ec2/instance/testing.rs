//! An instance for tests.

use std::net::Ipv4Addr;

use super::model::{Instance, MetadataOptions};
use super::state;
use crate::testing::NOW;

/// Just launched: pending, its first boot asked for.
pub fn instance() -> Instance {
    let (desired, observed, reason) = state::launched();
    Instance {
        placement_group: None,
        capacity_reservation: Default::default(),
        capacity_reservation_id: None,
        account: "123456789012".into(),
        region: "us-east-1".into(),
        id: "i-00000000000000001".into(),
        reservation_id: "r-00000000000000001".into(),
        launch_index: 0,
        requester: None,
        client_token: None,
        spot_request_id: None,
        zone: "us-east-1a".into(),
        vpc_id: "vpc-00000000000000001".into(),
        subnet_id: "subnet-00000000000000001".into(),
        private_ip: Ipv4Addr::new(172, 31, 0, 10),
        interface_id: "eni-00000000000000001".into(),
        secondary_interfaces: vec![],
        image_id: "ami-00000000000000001".into(),
        layers: vec![compute::Layer::Host],
        init: Default::default(),
        architecture: "x86_64".into(),
        root_device: Default::default(),
        frozen: vec![],
        volumes: vec!["vol-00000000000000001".into()],
        ephemeral: vec![],
        instance_type: "t3.micro".into(),
        key_name: None,
        public_key: None,
        user_data: vec![],
        metadata: MetadataOptions {
            tokens_required: false,
            hop_limit: 1,
            endpoint_enabled: true,
            tags_enabled: false,
        },
        shutdown_behavior: Default::default(),
        disable_api_termination: false,
        disable_api_stop: false,
        monitoring: false,
        launch_time: NOW,
        created_at: NOW,
        desired,
        observed,
        reason,
        transition_reason: String::new(),
    }
}
