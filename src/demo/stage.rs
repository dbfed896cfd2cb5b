//! The demo's stage: the shipped `proxy.yaml`, with simulators where the vendors were.

use std::collections::HashMap;
use std::io;

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

impl Stage {
    /// Starts a simulator for each vendor of the shipped file.
    pub async fn set() -> io::Result<Self> {
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
        let yaml = staged(&cast);
        Ok(Self { cast, yaml, variables })
    }

    /// The configuration to run: the shipped one with other URLs, free ports and an admin port.
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

/// The shipped text, comments and all, with other URLs, free ports and an admin port.
fn staged(cast: &[Cast]) -> String {
    let mut yaml = SHIPPED.replace("address: 127.0.0.1:8080", "address: 127.0.0.1:0");
    yaml.push_str("\n# Health, metrics and the status page.\nadmin:\n  address: 127.0.0.1:0\n");
    for part in cast {
        let origin = part.simulator.origin();
        yaml = yaml.replace(part.origin, origin);
        if let Some(path) = part.token_path {
            let provider = format!("    provider: {}\n", part.provider);
            yaml = yaml.replace(&provider, &format!("{provider}    token_url: {origin}{path}\n"));
        }
    }
    yaml
}
