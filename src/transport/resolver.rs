//! Asks the system's resolver.

use tokio::net::lookup_host;

use crate::address::{BoxFuture, Endpoint, NodeAddress, ResolveError, Resolver};

/// Resolves literal addresses at once, and DNS names by the system's resolver.
///
/// That runs on a thread of the runtime's pool: it is not for simulations.
#[derive(Debug, Clone, Copy, Default)]
pub struct DnsResolver;

/// Most endpoints taken of one name.
const MAX_ENDPOINTS: usize = 8;

impl Resolver for DnsResolver {
    fn resolve<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async move {
            if let Some(endpoint) = address.endpoint() {
                return Ok(vec![endpoint]);
            }
            let failed = |why: String| ResolveError { host: address.to_string(), why };
            let (host, port) = address.host().ok_or_else(|| failed("it has no host".into()))?;
            let found =
                lookup_host((host.to_string(), port)).await.map_err(|error| failed(error.to_string()))?;
            Ok(found.take(MAX_ENDPOINTS).map(Endpoint::Tcp).collect())
        })
    }
}
