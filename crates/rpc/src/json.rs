//! Typed calls: arguments and results as JSON. A thin layer over bytes, on both ends.
//!
//! Leaves out: any other form; whoever wants one has the bytes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gantline_client::PubSub;
use gantline_protocol::QoS;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::caller::RpcClient;
use crate::error::{CallError, Failure};
use crate::responder::{Request, RpcServer};

/// Why a typed call has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonCallError {
    /// The argument cannot be written as JSON. Nothing was sent.
    #[error("the argument cannot be written as JSON: {0}")]
    Argument(#[source] Arc<serde_json::Error>),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The responder answered with something that is not what was expected.
    #[error("the result is not what was expected: {0}")]
    Result(#[source] Arc<serde_json::Error>),
}

impl<C: PubSub> RpcClient<C> {
    /// As [`execute`](Self::execute), with an argument and a result that travel as JSON.
    ///
    /// # Errors
    ///
    /// See [`JsonCallError`].
    pub async fn call<A: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: &str,
        argument: &A,
        qos: QoS,
        timeout: Duration,
    ) -> Result<R, JsonCallError> {
        let argument =
            serde_json::to_vec(argument).map_err(|error| JsonCallError::Argument(Arc::new(error)))?;
        let answer = self.execute(method, argument, qos, timeout).await?;
        serde_json::from_slice(answer.payload()).map_err(|error| JsonCallError::Result(Arc::new(error)))
    }
}

impl RpcServer {
    /// As [`method`](Self::method), with an argument and a result that travel as JSON. An argument that cannot be read
    /// is a [`Failure::BAD_REQUEST`].
    pub fn json_method<F, T, A, R>(self, name: &str, handler: F) -> Self
    where
        F: Fn(A) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, Failure>> + Send + 'static,
        A: DeserializeOwned,
        R: Serialize,
    {
        self.method(name, move |request: Request| {
            let argument = serde_json::from_slice(request.payload());
            let handling = argument.map(&handler).map_err(|error| {
                Failure::new(Failure::BAD_REQUEST, format!("the argument is not what was expected: {error}"))
            });
            async move { Ok(serde_json::to_vec(&handling?.await?)?) }
        })
    }
}
