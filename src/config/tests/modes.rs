//! Files that hold secrets are for their owner, and perhaps a group, to read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_secrets_file_that_others_may_read_is_told_once_with_its_mode_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (name, content) in [
        ("token", "k3y".to_owned()),
        ("a.crt", certificate.pem()),
        ("a.key", key.serialize_pem()),
        ("state", String::new()),
    ] {
        fs::write(file(name), content).unwrap();
    }
    // As Kubernetes has it: links that lead to the file, whose mode is 0777 itself.
    fs::create_dir(file("..data")).unwrap();
    fs::rename(file("token"), file("..data/token")).unwrap();
    symlink("..data/token", file("token")).unwrap();
    let yaml = "\
listeners: [{address: 127.0.0.1:8080, tls: {cert: a.crt, key: a.key}}]
credentials:
  key: {provider: static, token: '${file:token}'}
  again: {provider: static, token: 'b${file:token}'}
  partner: {provider: oauth2, token_url: 'https://login.example/t', grant: refresh_token, client_id: a, client_secret: b,
    refresh_token: c, state_file: state, encryption_key: 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA='}
routes:
  - {name: one, match: {path: /one}, upstream: 'https://a.example', credential: key}
  - {name: two, match: {path: /two}, upstream: 'https://a.example', credential: again}
  - {name: three, match: {path: /three}, upstream: 'https://a.example', credential: partner}
";
    let warnings = || load_bytes(&file("proxy.yaml"), yaml.as_bytes(), &environment).unwrap().warnings;
    let secrets = ["..data/token", "a.key", "state"];
    set(&file("a.crt"), 0o644);
    for mode in [0o600, 0o400, 0o440, 0o640] {
        for name in secrets {
            set(&file(name), mode);
        }
        assert_eq!(told(&warnings()), Vec::<String>::new(), "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o660, 0o666, 0o700, 0o777] {
        for name in secrets {
            set(&file(name), mode);
        }
        let warnings = warnings();
        let paths: Vec<&str> = warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(
            paths,
            ["listeners[0].tls.key", "credentials.key.token", "credentials.partner.state_file"],
            "{mode:o}"
        );
        for warning in warnings {
            assert!(warning.message.contains(&format!("mode 0{mode:o}")), "{}", warning.message);
            assert!(warning.mend.contains("chmod 0640") && warning.mend.contains("defaultMode"), "{}", warning.mend);
        }
    }
}
