//! The demo's stage: the shipped `proxy.yaml`, with simulators where the vendors were.

use std::collections::HashMap;
use std::io;

use serde_yaml::{Mapping, Value};

use super::{Crayon, Crewmojo, CrmCom, Options, Simulator};

/// The file at the top level of the repository, as it was when this was built.
const SHIPPED: &str = include_str!("../../proxy.yaml");

/// Where the shipped file's vendors are, and where it would log in if it says nothing else.
struct Cast {
    simulator: Simulator,
    provider: &'static str,
    /// The production origin that the shipped file names.
    origin: &'static str,
    /// The path of the token endpoint, for providers whose URL is built in.
    token_path: Option<&'static str>,
    /// A request that the vendor answers, as the shipped routes reach it.
    request: &'static str,
    about: &'static str,
}

/// Simulators that run, and the configuration that leads to them.
pub struct Stage {
    cast: Vec<Cast>,
    yaml: String,
    variables: HashMap<String, String>,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A simulator did not start.
    #[error("a simulator cannot be started: {0}")]
    Simulator(#[from] io::Error),
    /// The shipped file is not what this expects; a test sees to that.
    #[error("the shipped proxy.yaml cannot be staged: {0}")]
    Shipped(#[from] serde_yaml::Error),
}

impl Stage {
    /// Starts a simulator for each vendor of the shipped file.
    pub async fn set() -> Result<Self, StageError> {
        let (crewmojo, crm, crayon) = (Crewmojo::default(), CrmCom::default(), Crayon::default());
        let variables = [
            ("CREWMOJO_CLIENT_ID", crewmojo.client_id.clone()),
            ("CREWMOJO_CLIENT_SECRET", crewmojo.client_secret.clone()),
            ("CRM_KEY", crm.key.clone()),
            ("CRAYON_CLIENT_ID", crayon.client_id.clone()),
            ("CRAYON_CLIENT_SECRET", crayon.client_secret.clone()),
            ("CRAYON_USERNAME", crayon.username.clone()),
            ("CRAYON_PASSWORD", crayon.password.clone()),
        ];
        let variables: HashMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let cast = vec![
            Cast {
                simulator: Simulator::start(crewmojo, Options::default()).await?,
                provider: "crewmojo",
                origin: "https://api.crewmojo.com",
                token_path: Some("/v1/oauth/token"),
                request: "/crewmojo/employees",
                about: "Crewmojo: OAuth2 client credentials; each new token kills the earlier ones",
            },
            Cast {
                simulator: Simulator::start(crm, Options::default()).await?,
                provider: "crm_com",
                origin: "https://crm.example.com",
                token_path: None,
                request: "/crm/contact_information/show",
                about: "CRM.COM: a Web API key; the token goes into a header and the query",
            },
            Cast {
                simulator: Simulator::start(crayon, Options::default()).await?,
                provider: "crayon",
                origin: "https://api.crayon.com",
                token_path: Some("/api/v1/connect/token"),
                request: "/crayon/organizations",
                about: "Crayon: a password grant with client credentials",
            },
        ];
        let yaml = staged(&cast)?;
        Ok(Self { cast, yaml, variables })
    }

    /// The configuration to run: the shipped one with other URLs and a free port.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// The simulators' credentials, under the names that the shipped file refers to.
    pub fn variables(&self) -> &HashMap<String, String> {
        &self.variables
    }

    /// What to try: for each vendor a sentence and a path that answers 200.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.cast.iter().map(|part| (part.about, part.request))
    }
}

fn staged(cast: &[Cast]) -> Result<String, serde_yaml::Error> {
    let mut document: Value = serde_yaml::from_str(SHIPPED)?;
    replace_origins(&mut document, cast);
    if let Some(credentials) = document.get_mut("credentials").and_then(Value::as_mapping_mut) {
        for (_, credential) in credentials.iter_mut() {
            set_token_url(credential, cast);
        }
    }
    let mut listener = Mapping::new();
    listener.insert("address".into(), "127.0.0.1:0".into());
    if let Some(document) = document.as_mapping_mut() {
        document.insert("listeners".into(), Value::Sequence(vec![listener.into()]));
    }
    serde_yaml::to_string(&document)
}

/// Points every URL of a vendor at its simulator.
fn replace_origins(value: &mut Value, cast: &[Cast]) {
    match value {
        Value::String(text) => {
            if let Some((part, rest)) = cast.iter().find_map(|part| Some((part, text.strip_prefix(part.origin)?))) {
                *text = format!("{}{rest}", part.simulator.origin());
            }
        }
        Value::Sequence(values) => values.iter_mut().for_each(|value| replace_origins(value, cast)),
        Value::Mapping(values) => values.iter_mut().for_each(|(_, value)| replace_origins(value, cast)),
        _ => {}
    }
}

fn set_token_url(credential: &mut Value, cast: &[Cast]) {
    let provider = credential.get("provider").and_then(Value::as_str);
    let Some(part) = cast.iter().find(|part| Some(part.provider) == provider) else { return };
    let Some(path) = part.token_path else { return };
    let url = format!("{}{path}", part.simulator.origin());
    if let Some(credential) = credential.as_mapping_mut() {
        credential.insert("token_url".into(), url.into());
    }
}
