//! The server of a connection: its address, and how it is trusted.

use std::path::Path;

use super::connection_file::{CONNECTION, ConnectionFile};
use super::error::ConfigError;
use super::place::ConnectionPlace;
use super::section::given;
use crate::plan::{self, MAX_PLAN_BYTES, rules};

/// The size of a plan without the CA certificates: some hundred files.
const REST_OF_PLAN_BYTES: usize = 16 * 1024;

impl ConnectionFile {
    /// The connection as it goes into plans.
    pub(super) fn server(
        &self,
        place: ConnectionPlace<'_>,
        read_ca: &impl Fn(&Path) -> Result<String, String>,
    ) -> Result<plan::Connection, ConfigError> {
        let address: plan::Address = place.parse(&CONNECTION.address, self.address.trim())?;
        if rules::connection(address.is_tls(), self.allow_insecure_http).is_some() {
            let allow = CONNECTION.allow_insecure_http.last();
            return place.wrong(
                &CONNECTION.address,
                format!(
                    "is http://: tokens and secrets would cross the network in clear text. Use https://, or set {allow}: true"
                ),
            );
        }
        let tls_server_name = given(self.tls_server_name.as_deref());
        let namespace = self.namespace.as_deref().map(|text| text.trim().trim_end_matches('/'));
        Ok(plan::Connection {
            name: place.name.to_owned(),
            ca: self.ca(place, address.is_tls(), read_ca)?,
            address,
            tls_server_name: tls_server_name
                .map(|text| place.parse(&CONNECTION.tls_server_name, text))
                .transpose()?,
            namespace: given(namespace)
                .map(|text| place.parse(&CONNECTION.namespace, text))
                .transpose()?,
            allow_insecure_http: self.allow_insecure_http,
        })
    }

    /// The certificates of the CA file.
    fn ca(
        &self,
        place: ConnectionPlace<'_>,
        is_tls: bool,
        read_ca: &impl Fn(&Path) -> Result<String, String>,
    ) -> Result<Option<String>, ConfigError> {
        let Some(path) = self.ca_file.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        if !is_tls {
            return place.wrong(
                &CONNECTION.ca_file,
                "is given for an http:// address, which has no certificate",
            );
        }
        let pem = match read_ca(path) {
            Ok(pem) => pem,
            Err(why) => return place.wrong(&CONNECTION.ca_file, format!("{} {why}", path.display())),
        };
        // Each line break is two bytes in JSON.
        let bytes = pem.len() + pem.matches('\n').count();
        if bytes > MAX_PLAN_BYTES - REST_OF_PLAN_BYTES {
            return place.wrong(
                &CONNECTION.ca_file,
                format!(
                    "has {bytes} bytes of certificates, more than fits into a pod: keep the ones that sign this server's certificate"
                ),
            );
        }
        Ok(Some(pem))
    }
}
