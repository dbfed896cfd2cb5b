//! Many requests that wait for one token: how long after the token endpoint's answer the last of them is answered.
//! Each round needs a proxy that has no token yet.

use super::progress::Progress;
use super::round::{Load, account, generator, sample};
use crate::args::Options;
use crate::figures::rows::STORM;
use crate::figures::sample::Run;
use crate::process::{cpu_time, peak_kib, pss_kib, tree};
use crate::targets::ours;
use crate::targets::stage::Stage;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn seconds(options: &Options) -> f64 {
    f64::from(options.rounds) * (3.0 + f64::from(options.waiting) * 0.0003)
}

pub(crate) fn measure(stage: &Stage<'_>, progress: &mut Progress, run: &mut Run) -> Result<(), String> {
    let load = Load { connections: stage.options.waiting, rate: 1, seconds: 1.0 };
    for round in 1..=stage.options.rounds {
        let target = ours::start(stage)?;
        let pids = target.pid.map(tree).unwrap_or_default();
        stage.vendor.child.rest("token request ");
        let generator = generator(stage, &target, load)?;
        let mut account = account(&generator, "{", PATIENCE)?;
        let tokens: Vec<u64> =
            stage.vendor.child.rest("token request 200 ").iter().filter_map(|moment| moment.parse().ok()).collect();
        let [token] = tokens.as_slice() else {
            return Err(format!(
                "cold-start: {} tokens were given out, and not one\n{}",
                tokens.len(),
                target.last_words()
            ));
        };
        if account.sent_ns > *token {
            account.errors.insert("not all were sent before the token came".to_owned(), 1);
        }
        let late = (account.last_ns as f64 - *token as f64) / 1e6;
        let text = format!(
            "{round}/{}: the last of {} answers came {late:.0} ms after the token",
            stage.options.rounds, account.requests
        );
        progress.tell(3.0 + f64::from(stage.options.waiting) * 0.0003, &text);
        let mut sample = sample(stage, &target, account);
        sample.cpu_us = Some(cpu_time(&pids).as_secs_f64() * 1e6 / sample.round.requests.max(1) as f64);
        sample.peak_kib = Some(peak_kib(&pids));
        sample.pss_kib = Some(pss_kib(&pids));
        sample.own.insert(STORM.to_owned(), late);
        run.rounds.push(sample);
    }
    Ok(())
}
