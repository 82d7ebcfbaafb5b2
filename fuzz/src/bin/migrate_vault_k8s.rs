#![no_main]

podkey_fuzz::target!(migrate_vault_k8s);
