//! The part of `bao agent`'s config by which it logs in as podkey's agent does.

use crate::support::openbao::{JWT_MOUNT, OpenBao};

/// With the token in this file, as this role.
pub(crate) fn login(bao: &OpenBao, token: &str, role: &str) -> String {
    format!(
        r#"
        vault {{
          address = "{address}"
          ca_cert = "{ca}"
        }}
        auto_auth {{
          method "jwt" {{
            mount_path = "auth/{JWT_MOUNT}"
            config = {{
              path = "{token}"
              role = "{role}"
              remove_jwt_after_reading = false
            }}
          }}
        }}
        "#,
        address = bao.address(),
        ca = bao.directory().join("ca.pem").display(),
    )
}
