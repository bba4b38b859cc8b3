//! The analyzer through its calls.

use wire::ec2 as w;

use super::{handlers, ops};
use crate::ec2::instance::launch::Launch;
use crate::ec2::security_group::model::Direction;
use crate::ec2::{image, instance, security_group, vpc};
use crate::testing;

#[tokio::test]
async fn an_analysis_says_what_stops_a_packet() {
    let cx = testing::context();
    let launch = Launch {
        image_id: Some(image::ops::built_in_id()),
        instance_type: Some("t3.micro".into()),
        min_count: 2,
        max_count: 2,
        ..Launch::default()
    };
    let launched = cx.write(|tx| instance::ops::run(tx, &cx, &launch)).await.unwrap();
    let [a, b] = [0, 1].map(|n: usize| launched.instances[n].id.clone());
    let path = |port, token: &str| w::CreateNetworkInsightsPathRequest {
        source: a.clone(),
        destination: Some(b.clone()),
        destination_port: Some(port),
        protocol: "tcp".to_owned(),
        client_token: token.to_owned(),
        ..Default::default()
    };
    let analyze = |request: w::CreateNetworkInsightsPathRequest| {
        let cx = cx.clone();
        async move {
            let token = request.client_token.clone();
            let made = handlers::create_path(cx.clone(), request).await.unwrap();
            let id = made.network_insights_path.unwrap().network_insights_path_id.unwrap();
            let start = w::StartNetworkInsightsAnalysisRequest {
                network_insights_path_id: id,
                client_token: token,
                ..Default::default()
            };
            handlers::start_analysis(cx, start).await.unwrap().network_insights_analysis.unwrap()
        }
    };
    // Members of the default group reach one another …
    let found = analyze(path(80, "one")).await;
    assert_eq!(found.network_path_found, Some(true));
    let forward = found.forward_path_components.unwrap();
    assert!(forward.iter().any(|c| c.security_group_rule.is_some()), "{forward:?}");
    // … until its rules are gone.
    cx.write(|tx| {
        let id = security_group::ops::default_id(&cx, &vpc::ops::first_id(&cx));
        let group = security_group::ops::group(tx, &cx, &id)?;
        let rules: Vec<String> =
            group.rules_of(Direction::Ingress).map(|rule| rule.id.clone()).collect();
        security_group::ops::revoke_ids(tx, &cx, &group, Direction::Ingress, &rules).map(drop)
    })
    .await
    .unwrap();
    let stopped = analyze(path(80, "two")).await;
    assert_eq!(stopped.network_path_found, Some(false));
    let [why] = <[w::Explanation; 1]>::try_from(stopped.explanations.unwrap()).unwrap();
    assert_eq!(why.explanation_code.as_deref(), Some("ENI_SG_RULES_MISMATCH"));
    assert_eq!(why.direction.as_deref(), Some("ingress"));

    let id = stopped.network_insights_path_id.unwrap();
    let busy = cx.write(|tx| ops::delete_path(tx, &cx, &id)).await.unwrap_err();
    assert_eq!(busy.code(), "AnalysisExistsForNetworkInsightsPath");
    let id = stopped.network_insights_analysis_id.unwrap();
    cx.write(|tx| ops::delete_analysis(tx, &cx, &id)).await.unwrap();
}
