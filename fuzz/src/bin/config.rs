#![no_main]

podkey_fuzz::target!(config);
