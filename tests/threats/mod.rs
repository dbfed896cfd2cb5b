//! The threats that this proxy was built against, by their numbers in `docs/security.md`: a module a
//! threat, at the level where it bites.

mod row_01_framing;
mod row_02_http2_to_http1;
mod row_03_early_answer;
mod row_04_upgrades;
mod row_05_stripped_header;
mod row_06_spoofed_header;
mod row_07_wrong_host;
mod row_08_redirects;
mod row_09_paths;
mod row_10_named_by_an_answer;
mod row_11_canaries;
mod row_12_vendor_errors;
mod row_13_token_bytes;
mod row_14_upstream_answers;
mod row_15_cookies_and_challenges;
mod row_16_sent_twice;
mod row_17_http2_floods;
mod row_18_slow_clients;
mod row_19_large;
mod row_20_decompression;
mod row_21_trace;
mod row_22_key_guessing;
mod row_23_admin_port;
mod row_24_broken_configuration;
mod row_25_reload_under_load;
mod row_26_secret_rotation;
mod row_27_token_endpoint_down;
mod row_28_retry_storm;
mod row_29_thundering_herd;
mod row_30_refresh_tokens;
mod row_31_clocks;
mod row_32_poisoned_pool;
mod row_33_upstream_tls;
mod row_34_crash;
mod row_35_shutdown;
