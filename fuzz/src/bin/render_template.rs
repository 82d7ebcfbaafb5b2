#![no_main]

podkey_fuzz::target!(render_template);
