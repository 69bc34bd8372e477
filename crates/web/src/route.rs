//! The endpoint as a route of axum.
//!
//! Relates to: [`MqttEndpoint`], which does the work. Leaves out: extractors and middleware, which go before it as
//! before any route.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::routing::{MethodRouter, any_service};
use gantline_transport::http::Request;

use crate::MqttEndpoint;

impl MqttEndpoint {
    /// The endpoint for [`Router::route`](axum::Router::route), with any state. Serve the router with
    /// `into_make_service_with_connect_info::<SocketAddr>()` if the server shall know the addresses of its clients.
    ///
    /// axum's [`serve`](https://docs.rs/axum/0.8/axum/fn.serve.html) upgrades by itself, and a graceful shutdown of it
    /// does not wait for connections that were upgraded: shut the MQTT server down as well.
    pub fn route<S: Clone>(self) -> MethodRouter<S> {
        any_service(self)
    }
}

pub(crate) fn peer_of<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}
