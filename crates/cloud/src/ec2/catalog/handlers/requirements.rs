//! Attribute-based selection on the wire: `InstanceRequirements` as requests have them and answers
//! show them.

use wire::ec2 as w;

use super::super::select::{Between, Presence, Prices, Requirements, select};
use super::text;
use crate::Context;
use crate::ec2::handlers::{one_of, refuse};
use crate::ec2::listing::{Listing, dry_run};
use crate::ec2::{Error, Result};

/// Turns price protection off (EC2 API Reference).
const ANY_PRICE: u32 = 999_999;

/// Nothing here has a price that a type would be left out for, so a threshold that would leave some
/// out is refused.
pub async fn get(
    _: Context,
    input: w::GetInstanceTypesFromInstanceRequirementsRequest,
) -> Result<w::GetInstanceTypesFromInstanceRequirementsResult> {
    refuse(input.context.is_some(), "Context")?;
    let mut wanted = requirements(input.instance_requirements)?;
    let prices = [
        wanted.prices.on_demand_over_lowest,
        wanted.prices.spot_over_lowest,
        wanted.prices.spot_of_on_demand,
    ];
    let limited = prices.into_iter().flatten().any(|percent| percent < ANY_PRICE);
    refuse(limited, "Price protection outside of a fleet")?;
    wanted.architectures = input.architecture_types;
    wanted.virtualization_types = input.virtualization_types;
    let listing = Listing {
        filters: vec![],
        max_results: input.max_results.or(Some(1000)),
        next_token: input.next_token,
    };
    listing.check_max_results(1..=1000)?;
    let (found, next_token) = listing.page(select(&wanted), |t| t.name.to_owned())?;
    dry_run(input.dry_run)?;
    let named = found
        .into_iter()
        .map(|t| w::InstanceTypeInfoFromInstanceRequirements { instance_type: text(t.name) });
    let instance_types = Some(named.collect());
    Ok(w::GetInstanceTypesFromInstanceRequirementsResult { instance_types, next_token })
}

/// Architectures and virtualization types are said beside it, where a call has them.
pub fn requirements(input: w::InstanceRequirementsRequest) -> Result<Requirements> {
    let w::InstanceRequirementsRequest {
        accelerator_count,
        accelerator_manufacturers,
        accelerator_names,
        accelerator_total_memory_mi_b,
        accelerator_types,
        allowed_instance_types,
        bare_metal,
        baseline_ebs_bandwidth_mbps,
        baseline_performance_factors,
        burstable_performance,
        cpu_manufacturers,
        excluded_instance_types,
        instance_generations,
        local_storage,
        local_storage_types,
        max_spot_price_as_percentage_of_optimal_on_demand_price,
        memory_gi_b_per_v_cpu,
        memory_mi_b,
        network_bandwidth_gbps,
        network_interface_count,
        on_demand_max_price_percentage_over_lowest_price,
        require_encryption_in_transit,
        require_hibernate_support,
        spot_max_price_percentage_over_lowest_price,
        total_local_storage_gb,
        v_cpu_count,
    } = input;
    refuse(baseline_performance_factors.is_some(), "BaselinePerformanceFactors")?;
    let allowed = allowed_instance_types.unwrap_or_default();
    let excluded = excluded_instance_types.unwrap_or_default();
    if !allowed.is_empty() && !excluded.is_empty() {
        return Err(Error::combination(
            "AllowedInstanceTypes and ExcludedInstanceTypes may not be specified on the same request.",
        ));
    }
    if max_spot_price_as_percentage_of_optimal_on_demand_price.is_some()
        && spot_max_price_percentage_over_lowest_price.is_some()
    {
        return Err(Error::combination(
            "Only one of SpotMaxPricePercentageOverLowestPrice and \
             MaxSpotPriceAsPercentageOfOptimalOnDemandPrice can be specified.",
        ));
    }
    let percent = |name: &str, n: Option<i32>| match n.map(u32::try_from) {
        None => Ok(None),
        Some(Ok(n)) => Ok(Some(n)),
        Some(Err(_)) => Err(Error::value(format!("The value for {name} must not be negative."))),
    };
    Ok(Requirements {
        architectures: vec![],
        virtualization_types: vec![],
        vcpus: whole("VCpuCount", Some(v_cpu_count.min), v_cpu_count.max)?,
        memory_mib: whole("MemoryMiB", Some(memory_mi_b.min), memory_mi_b.max)?,
        memory_gib_per_vcpu: memory_gi_b_per_v_cpu
            .map_or(Ok(Between::default()), |r| between("MemoryGiBPerVCpu", r.min, r.max))?,
        cpu_manufacturers: cpu_manufacturers.unwrap_or_default(),
        allowed,
        excluded,
        generations: instance_generations.unwrap_or_default(),
        bare_metal: presence("BareMetal", bare_metal)?,
        burstable: presence("BurstablePerformance", burstable_performance)?,
        local_storage: presence("LocalStorage", local_storage)?,
        local_storage_types: local_storage_types.unwrap_or_default(),
        local_storage_gb: total_local_storage_gb
            .map_or(Ok(Between::default()), |r| between("TotalLocalStorageGB", r.min, r.max))?,
        hibernation: require_hibernate_support == Some(true),
        encryption_in_transit: require_encryption_in_transit == Some(true),
        interfaces: network_interface_count
            .map_or(Ok(Between::default()), |r| whole("NetworkInterfaceCount", r.min, r.max))?,
        network_gbps: network_bandwidth_gbps
            .map_or(Ok(Between::default()), |r| between("NetworkBandwidthGbps", r.min, r.max))?,
        baseline_ebs_mbps: baseline_ebs_bandwidth_mbps
            .map_or(Ok(Between::default()), |r| whole("BaselineEbsBandwidthMbps", r.min, r.max))?,
        accelerator_types: accelerator_types.unwrap_or_default(),
        accelerator_count: accelerator_count
            .map_or(Ok(Between::default()), |r| whole("AcceleratorCount", r.min, r.max))?,
        accelerator_manufacturers: accelerator_manufacturers.unwrap_or_default(),
        accelerator_names: accelerator_names.unwrap_or_default(),
        accelerator_memory_mib: accelerator_total_memory_mi_b
            .map_or(Ok(Between::default()), |r| whole("AcceleratorTotalMemoryMiB", r.min, r.max))?,
        prices: Prices {
            on_demand_over_lowest: percent(
                "OnDemandMaxPricePercentageOverLowestPrice",
                on_demand_max_price_percentage_over_lowest_price,
            )?,
            spot_over_lowest: percent(
                "SpotMaxPricePercentageOverLowestPrice",
                spot_max_price_percentage_over_lowest_price,
            )?,
            spot_of_on_demand: percent(
                "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice",
                max_spot_price_as_percentage_of_optimal_on_demand_price,
            )?,
        },
    })
}

/// As answers show them.
pub fn out(r: &Requirements) -> w::InstanceRequirements {
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let given = |b: Between| (b.min.is_some() || b.max.is_some()).then_some(b);
    let n = |value: Option<f64>| value.map(|value| value as i32);
    let word = |presence: Option<Presence>| presence.map(|presence| presence.word().to_owned());
    let percent = |percent: Option<u32>| percent.and_then(|percent| i32::try_from(percent).ok());
    w::InstanceRequirements {
        accelerator_count: given(r.accelerator_count)
            .map(|b| w::AcceleratorCount { min: n(b.min), max: n(b.max) }),
        accelerator_manufacturers: some(&r.accelerator_manufacturers),
        accelerator_names: some(&r.accelerator_names),
        accelerator_total_memory_mi_b: given(r.accelerator_memory_mib)
            .map(|b| w::AcceleratorTotalMemoryMiB { min: n(b.min), max: n(b.max) }),
        accelerator_types: some(&r.accelerator_types),
        allowed_instance_types: some(&r.allowed),
        bare_metal: word(r.bare_metal),
        baseline_ebs_bandwidth_mbps: given(r.baseline_ebs_mbps)
            .map(|b| w::BaselineEbsBandwidthMbps { min: n(b.min), max: n(b.max) }),
        burstable_performance: word(r.burstable),
        cpu_manufacturers: some(&r.cpu_manufacturers),
        excluded_instance_types: some(&r.excluded),
        instance_generations: some(&r.generations),
        local_storage: word(r.local_storage),
        local_storage_types: some(&r.local_storage_types),
        max_spot_price_as_percentage_of_optimal_on_demand_price: percent(
            r.prices.spot_of_on_demand,
        ),
        memory_gi_b_per_v_cpu: given(r.memory_gib_per_vcpu)
            .map(|b| w::MemoryGiBPerVCpu { min: b.min, max: b.max }),
        memory_mi_b: given(r.memory_mib).map(|b| w::MemoryMiB { min: n(b.min), max: n(b.max) }),
        network_bandwidth_gbps: given(r.network_gbps)
            .map(|b| w::NetworkBandwidthGbps { min: b.min, max: b.max }),
        network_interface_count: given(r.interfaces)
            .map(|b| w::NetworkInterfaceCount { min: n(b.min), max: n(b.max) }),
        on_demand_max_price_percentage_over_lowest_price: percent(r.prices.on_demand_over_lowest),
        require_encryption_in_transit: r.encryption_in_transit.then_some(true),
        require_hibernate_support: r.hibernation.then_some(true),
        spot_max_price_percentage_over_lowest_price: percent(r.prices.spot_over_lowest),
        total_local_storage_gb: given(r.local_storage_gb)
            .map(|b| w::TotalLocalStorageGB { min: b.min, max: b.max }),
        v_cpu_count: given(r.vcpus).map(|b| w::VCpuCountRange { min: n(b.min), max: n(b.max) }),
        ..Default::default()
    }
}

fn whole(name: &str, min: Option<i32>, max: Option<i32>) -> Result<Between> {
    between(name, min.map(f64::from), max.map(f64::from))
}

fn between(name: &str, min: Option<f64>, max: Option<f64>) -> Result<Between> {
    if min.into_iter().chain(max).any(|n| n < 0.0) {
        return Err(Error::value(format!("{name}: Min and Max must not be negative.")));
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(Error::value(format!("{name}: Min ({min}) must not exceed Max ({max}).")));
    }
    Ok(Between { min, max })
}

fn presence(name: &str, word: Option<String>) -> Result<Option<Presence>> {
    let Some(word) = word else { return Ok(None) };
    one_of(name, &word, &["included", "required", "excluded"])?;
    Ok([Presence::Included, Presence::Required, Presence::Excluded]
        .into_iter()
        .find(|presence| presence.word() == word))
}
