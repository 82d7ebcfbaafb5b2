#![no_main]

podkey_fuzz::target!(status_file);
