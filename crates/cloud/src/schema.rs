//! Every record and bulk keyspace of the cloud. What is not listed here cannot be stored.

pub fn schema() -> store::Schema {
    store::Schema::new()
        .record::<crate::dynamodb::Table>()
        .keyspace(crate::dynamodb::ITEMS)
        .record::<crate::elbv2::LoadBalancer>()
        .record::<crate::elbv2::Node>()
        .record::<crate::elbv2::Listener>()
        .record::<crate::elbv2::Rule>()
        .record::<crate::elbv2::TargetGroup>()
        .record::<crate::elbv2::Target>()
        .record::<crate::ec2::instance::model::Instance>()
        .record::<crate::ec2::instance::model::ClientToken>()
        .record::<crate::ec2::instance::model::Console>()
        .record::<crate::ec2::image::Image>()
        .record::<crate::ec2::key_pair::KeyPair>()
        .record::<crate::ec2::launch_template::LaunchTemplate>()
        .record::<crate::ec2::launch_template::Version>()
        .record::<crate::ec2::security_group::SecurityGroup>()
        .record::<crate::ec2::tag::model::Tagged>()
        .record::<crate::ec2::vpc::model::Address>()
        .record::<crate::zone::Failure>()
}
