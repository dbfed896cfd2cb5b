//! The vendors' simulators, and the lines of `proxy.yaml` that reach them. `more` is put behind, such
//! as `, lifetime: 3s`.

use tokenferry::demo::{Crayon, Crewmojo, CrmCom, OAuth2, Options, Rules, Simulator};

/// A simulator that works as documented.
pub async fn simulate(rules: impl Rules) -> Simulator {
    Simulator::start(rules, Options::default()).await.unwrap()
}

/// A whole configuration.
pub fn config(credentials: &[String], routes: &[String]) -> String {
    format!("credentials:\n{}routes:\n{}", credentials.concat(), routes.concat())
}

/// A route for everything under `/NAME`.
pub fn route(name: &str, upstream: &str, credential: &str, more: &str) -> String {
    format!(
        "  - {{name: {name}, match: {{path: /{name}}}, upstream: \"{upstream}\", credential: {credential}{more}}}\n"
    )
}

/// The credential `crewmojo` of a client with this secret, whose logins go to this origin.
pub fn crewmojo_with(secret: &str, origin: &str, more: &str) -> String {
    let id = Crewmojo::default().client_id;
    format!(
        "  crewmojo: {{provider: crewmojo, token_url: \"{origin}/v1/oauth/token\", client_id: {id}, client_secret: \"{secret}\"{more}}}\n"
    )
}

/// The credential `crewmojo`, whose logins go to this origin.
pub fn crewmojo(origin: &str, more: &str) -> String {
    crewmojo_with(&Crewmojo::default().client_secret, origin, more)
}

/// The credential `crm` by its recommended method, at this origin.
pub fn crm(origin: &str, more: &str) -> String {
    let key = CrmCom::default().key;
    crm_by(&format!("method: web_api_key, key: {key}"), origin, more)
}

/// The credential `crm` by this method.
pub fn crm_by(method: &str, origin: &str, more: &str) -> String {
    format!("  crm: {{provider: crm_com, base_url: \"{origin}/crmapi/rest/v2\", {method}{more}}}\n")
}

/// The credential `crayon`, whose logins go to this origin.
pub fn crayon(origin: &str, more: &str) -> String {
    let Crayon { client_id, client_secret, username, password } = Crayon::default();
    format!(
        "  crayon: {{provider: crayon, token_url: \"{origin}/api/v1/connect/token/\", client_id: {client_id}, \
         client_secret: {client_secret}, username: \"{username}\", password: \"{password}\"{more}}}\n"
    )
}

/// The credential `partner`, of a plain OAuth 2 endpoint at this origin.
pub fn partner(origin: &str, more: &str) -> String {
    let OAuth2 { client_id, client_secret, .. } = OAuth2::default();
    format!(
        "  partner: {{provider: oauth2, token_url: \"{origin}/oauth2/token\", client_id: \"{client_id}\", \
         client_secret: \"{client_secret}\"{more}}}\n"
    )
}
