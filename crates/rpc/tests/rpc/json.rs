//! Typed calls.

use std::collections::HashMap;

use gantline_client::QoS;
use gantline_rpc::{CallError, Failure, JsonCallError, Request, RpcServer};

use crate::world::{LONG, Scheme, V3_1_1, V5_0, World};

fn server() -> RpcServer {
    RpcServer::new()
        .json_method("sum", |numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) })
        .method("bytes", |_: Request| async { Ok("no JSON") })
}

#[tokio::test(start_paused = true)]
async fn arguments_and_results_keep_their_types() {
    for version in [V3_1_1, V5_0] {
        let world = World::new().await;
        let _responder = server().start(world.client("responder", version).await).await.unwrap();
        let rpc = world.caller(version, Scheme::Shared).await;
        let sum: i64 = rpc.call("sum", &[1, 2, 3], QoS::AtLeastOnce, LONG).await.unwrap();
        assert_eq!(sum, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_of_the_type_is_an_error_of_whoever_sent_it() {
    let world = World::new().await;
    let _responder = server().start(world.client("responder", V5_0).await).await.unwrap();
    let rpc = world.caller(V5_0, Scheme::Inbox).await;
    let error = rpc.call::<_, i64>("sum", "text", QoS::AtLeastOnce, LONG).await.unwrap_err();
    let JsonCallError::Call(CallError::Failed(failure)) = error else { panic!("{error}") };
    assert_eq!(failure.code(), Failure::BAD_REQUEST);
    for method in ["sum", "bytes"] {
        let error = rpc.call::<_, String>(method, &[1], QoS::AtLeastOnce, LONG).await.unwrap_err();
        assert!(matches!(error, JsonCallError::Result(_)), "{error}");
    }
    let unwritable = HashMap::from([(vec![1], 1)]);
    let error = rpc.call::<_, i64>("sum", &unwritable, QoS::AtLeastOnce, LONG).await.unwrap_err();
    assert!(matches!(error, JsonCallError::Argument(_)), "{error}");
}
