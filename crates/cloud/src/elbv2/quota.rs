//! How many of everything there may be: AWS's defaults, which cannot be raised here.

pub const LOAD_BALANCERS: usize = 50;
pub const LISTENERS: usize = 50;
/// Of a load balancer, without default rules.
pub const RULES: usize = 100;
pub const CONDITION_VALUES: usize = 5;
pub const CONDITION_WILDCARDS: usize = 6;
pub const GROUPS_PER_ACTION: usize = 5;
pub const GROUPS_PER_LOAD_BALANCER: usize = 100;
pub const TARGET_GROUPS: usize = 3000;
pub const TARGETS: usize = 1000;

/// By AWS's names, as DescribeAccountLimits lists them.
pub const ALL: &[(&str, usize)] = &[
    ("application-load-balancers", LOAD_BALANCERS),
    ("condition-values-per-alb-rule", CONDITION_VALUES),
    ("condition-wildcards-per-alb-rule", CONDITION_WILDCARDS),
    ("listeners-per-application-load-balancer", LISTENERS),
    ("rules-per-application-load-balancer", RULES),
    ("target-groups", TARGET_GROUPS),
    ("target-groups-per-action-on-application-load-balancer", GROUPS_PER_ACTION),
    ("target-groups-per-application-load-balancer", GROUPS_PER_LOAD_BALANCER),
    ("targets-per-target-group", TARGETS),
];
