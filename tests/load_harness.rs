//! The load harness's own arithmetic: medians, verdicts, comparisons, its page. What it is built of stands in
//! `benches/load`, whose program has no tests of its own.

#[path = "../benches/load/figures/mod.rs"]
#[allow(dead_code, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the harness uses the rest")]
mod figures;
#[path = "../benches/load/targets/peer.rs"]
#[allow(dead_code, reason = "the harness uses the rest")]
mod peer;
#[path = "../benches/load/wire.rs"]
#[allow(dead_code, reason = "the harness uses the rest")]
pub(crate) mod wire;

use figures::baseline::compare;
use figures::page::{escape, page};
use figures::plot;
use figures::rows::{ALLOCATIONS, ALONE, HAPPENED, IDLE, INSTRUCTIONS, KEPT, OURS, REST, ROWS, Verdict, judge, noise};
use figures::sample::{CPU, Mark, Round, Run, Sample};
use figures::spread::{Spread, median, told};
use figures::summary::summary;
use figures::table::aligned;
use peer::Peer;
use serde_json::json;
use wire::{Fields, Intake, answer};

#[test]
fn a_peer_is_a_name_a_command_and_a_port() {
    let peer: Peer = "caddy=caddy reverse-proxy --from :{port} --to {upstream} --x 'a,b',{port}".parse().unwrap();
    assert_eq!((peer.name.as_str(), peer.port), ("caddy", None));
    assert_eq!(
        peer.command(&[("port", "4000"), ("upstream", "127.0.0.1:5000")]),
        "caddy reverse-proxy --from :4000 --to 127.0.0.1:5000 --x 'a,b'"
    );
    let peer: Peer = "mine=run ${HOME}/x=1,8080".parse().unwrap();
    assert_eq!((peer.port, peer.command(&[("port", "1")]).as_str()), (Some(8080), "run ${HOME}/x=1"));
}

#[test]
fn a_peer_that_can_not_be_started_is_refused_and_told_why() {
    for (text, why) in [
        ("caddy", "NAME=COMMAND,PORT"),
        ("=run,80", "a peer's name"),
        ("a b=run,80", "a peer's name"),
        ("nginx=run,80", "measured anyway"),
        ("x= ,80", "needs a command"),
        ("x=run", "no comma"),
        ("x=run,0", "a port"),
        ("x=run,70000", "a port"),
        ("x=run,http", "a port"),
    ] {
        let problem = text.parse::<Peer>().unwrap_err();
        assert!(problem.contains(why), "{text}: {problem}");
    }
}

fn sample(scenario: &str, target: &str, cpu_us: f64) -> Sample {
    let round = Round {
        requests: 1000,
        answered: 1200,
        seconds: 2.0,
        p50_us: 100.0,
        p99_us: 300.0,
        max_us: 900.0,
        ..Round::default()
    };
    Sample {
        scenario: scenario.to_owned(),
        target: target.to_owned(),
        round,
        cpu_us: Some(cpu_us),
        ..Sample::default()
    }
}

/// Rounds of one scenario: each target with its CPU times.
fn run(scenario: &str, targets: &[(&str, &[f64])]) -> Run {
    let rounds = targets.iter().flat_map(|(target, cpu)| cpu.iter().map(|cpu| sample(scenario, target, *cpu)));
    Run { setting: json!({"cpus": 2}), rounds: rounds.collect() }
}

/// What is said of the row that begins so.
fn row(run: &Run, name: &str) -> (Vec<String>, Verdict) {
    let judged = judge(run).into_iter().find(|judged| judged.cells[0].starts_with(name)).unwrap();
    (judged.cells, judged.verdict)
}

#[test]
fn a_median_is_the_middle_one_or_lies_between_the_two_in_the_middle() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(told(&[2.0, 1.0, 4.0], 1), "2.0 [1.0-4.0]");
    assert_eq!(told(&[2.0], 1), "2.0");
    assert_eq!(told(&[], 1), "-");
}

#[test]
fn ratios_are_taken_round_by_round() {
    // The machine was twice as slow in the second round: for both.
    let run = run("get-1k", &[(OURS, &[10.0, 20.0]), ("nginx", &[8.0, 16.0])]);
    assert_eq!(run.ratios("get-1k", OURS, "nginx", CPU), [1.25, 1.25]);
}

#[test]
fn a_row_holds_up_to_its_bounds_and_fails_above_either() {
    let with = |ours: f64| run("get-1k", &[(OURS, &[ours; 3]), ("nginx", &[10.0; 3]), ("haproxy", &[12.0; 3])]);
    let (cells, verdict) = row(&with(11.2), "GET 1 KiB, keep-alive");
    assert_eq!(verdict, Verdict::Holds);
    assert_eq!(
        cells[1..],
        ["11.2 [11.2-11.2] us", "-", "1.12 [1.12-1.12]", "1.12", "0.93 [0.93-0.93]", "1.00", "holds"]
    );
    assert_eq!(row(&with(11.3), "GET 1 KiB, keep-alive").1, Verdict::Failed);
    // Better than nginx by far, and still above HAProxy.
    let run = run("get-1k", &[(OURS, &[9.0]), ("nginx", &[10.0]), ("haproxy", &[8.0])]);
    assert_eq!(row(&run, "GET 1 KiB, keep-alive").1, Verdict::Failed);
}

#[test]
fn a_row_without_its_peer_is_not_measured_and_one_with_errors_fails() {
    let alone = run("get-64k", &[(OURS, &[5.0]), ("nginx", &[10.0])]);
    assert_eq!(row(&alone, "GET 64 KiB").1, Verdict::NotMeasured);
    let mut faulty = run("get-64k", &[(OURS, &[5.0]), ("nginx", &[10.0]), ("haproxy", &[10.0])]);
    assert_eq!(row(&faulty, "GET 64 KiB").1, Verdict::Holds);
    faulty.rounds[0].round.errors.insert("status 502".to_owned(), 1);
    assert_eq!(row(&faulty, "GET 64 KiB").1, Verdict::Failed);
    assert_eq!(faulty.errors(), ["get-64k tokenferry: 1 x status 502"]);
}

#[test]
fn only_what_was_run_is_judged() {
    let names: Vec<String> =
        judge(&run("tls-in", &[(OURS, &[5.0])])).into_iter().map(|judged| judged.cells[0].clone()).collect();
    assert_eq!(names, ["TLS in, 1 KiB"]);
}

#[test]
fn added_latency_is_what_is_above_the_same_rounds_direct_one() {
    let mut run = run("half-load", &[("direct", &[1.0]), (OURS, &[1.0]), ("haproxy", &[1.0])]);
    for (sample, p50) in run.rounds.iter_mut().zip([100.0, 300.0, 350.0]) {
        sample.round.p50_us = p50;
    }
    let (cells, verdict) = row(&run, "half load, added p50");
    assert_eq!((cells[1].as_str(), cells[5].as_str(), verdict), ("200", "0.80", Verdict::Holds));
    run.rounds[1].round.p50_us = 360.0;
    assert_eq!(row(&run, "half load, added p50").1, Verdict::Failed);
}

#[test]
fn two_workers_are_told_by_cpu_time_where_the_load_has_no_cpus_of_its_own() {
    let mut both = run("get-1k", &[(OURS, &[10.0])]);
    both.rounds.push(sample("get-1k-two-workers", OURS, 11.0));
    let (cells, verdict) = row(&both, "two workers, times");
    assert_eq!((cells[1].as_str(), verdict), ("1.82 (by CPU time)", Verdict::Holds));
    both.rounds[1].cpu_us = Some(11.5);
    assert_eq!(row(&both, "two workers, times").1, Verdict::Failed);
    both.setting = json!({"cpus": 8});
    both.rounds[1].round.requests = 1900;
    let (cells, verdict) = row(&both, "two workers, times");
    assert_eq!((cells[1].as_str(), verdict), ("1.90 (by rate)", Verdict::Holds));
}

#[test]
fn memory_is_judged_by_the_worst_round() {
    let mut idle = run("idle", &[(OURS, &[1.0, 1.0])]);
    for (sample, each) in idle.rounds.iter_mut().zip([2.4, 3.2]) {
        sample.own = [(IDLE.to_owned(), each), (REST.to_owned(), 9.0), (KEPT.to_owned(), 4.0)].into();
    }
    assert_eq!(row(&idle, "PSS an idle").1, Verdict::Failed);
    assert_eq!(row(&idle, "PSS at rest").1, Verdict::Holds);
    assert_eq!(row(&idle, "PSS of the burst").1, Verdict::Holds);
}

#[test]
fn changes_under_load_hold_without_errors_and_only_where_something_changed() {
    let mut reloads = run("reloads", &[(OURS, &[1.0])]);
    assert_eq!(row(&reloads, "errors while the configuration").1, Verdict::Failed, "nothing changed");
    reloads.rounds[0].own.insert(HAPPENED.to_owned(), 100.0);
    let (cells, verdict) = row(&reloads, "errors while the configuration");
    assert_eq!((cells[1].as_str(), verdict), ("0 in 100 changes", Verdict::Holds));
    reloads.rounds[0].round.errors.insert("status 502".to_owned(), 2);
    assert_eq!(row(&reloads, "errors while the configuration").1, Verdict::Failed);
}

#[test]
fn system_calls_that_were_not_counted_are_told_as_not_measured() {
    let mut counted = run("get-1k", &[(OURS, &[1.0])]);
    assert_eq!(row(&counted, "system calls").1, Verdict::NotMeasured);
    counted.rounds[0].syscalls = Some(4.5);
    assert_eq!(row(&counted, "system calls").1, Verdict::Failed);
}

#[test]
fn what_is_counted_holds_up_to_its_bound_and_is_missing_where_nothing_can_count() {
    let mut counts = run("counts", &[(OURS, &[1.0])]);
    let verdicts = |run: &Run| {
        ["system calls", "user instructions", "heap allocations"].map(|what| row(run, &format!("counted: {what}")).1)
    };
    assert_eq!(verdicts(&counts), [Verdict::NotMeasured; 3]);
    let mut counted = |figures: [f64; 3]| {
        let names = [ALONE, INSTRUCTIONS, ALLOCATIONS].map(str::to_owned);
        counts.rounds[0].own = names.into_iter().zip(figures).collect();
        verdicts(&counts)
    };
    assert_eq!(counted([6.0, 30_000.0, 8.0]), [Verdict::Holds; 3]);
    assert_eq!(counted([6.1, 30_001.0, 8.1]), [Verdict::Failed; 3]);
}

#[test]
fn each_row_has_a_name_of_its_own() {
    let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len());
}

#[test]
fn the_noise_is_nginx_against_itself() {
    let run = run("get-1k", &[("nginx", &[9.0, 10.0, 12.0])]);
    assert_eq!(noise(&run, "get-1k").unwrap().to_string(), "1.00 [0.90-1.20]");
    assert!(noise(&run, "get-64k").is_none());
}

#[test]
fn a_baseline_marks_what_lies_beyond_the_spread_and_nothing_else() {
    let before = run("get-1k", &[(OURS, &[10.0, 11.0, 12.0]), ("gone", &[1.0])]);
    let now = run("get-1k", &[(OURS, &[13.0, 14.0, 15.0]), ("new", &[1.0])]);
    let rows = compare(&now, &before);
    let cpu = rows.iter().find(|row| row[2] == "CPU us/req").unwrap();
    assert_eq!(cpu[1..], [OURS, "CPU us/req", "11.0 [10.0-12.0]", "14.0 [13.0-15.0]", "1.27", "beyond the spread"]);
    // The rate is the same, and targets of one run alone are not compared.
    let rate = rows.iter().find(|row| row[2] == "req/s").unwrap();
    assert_eq!((rate[5].as_str(), rate[6].as_str()), ("1.00", ""));
    assert!(rows.iter().all(|row| row[1] != "gone" && row[1] != "new"));
    // Both were twice as fast: the ratio to nginx stays.
    let before = run("get-1k", &[(OURS, &[20.0, 22.0]), ("nginx", &[10.0, 11.0])]);
    let now = run("get-1k", &[(OURS, &[10.0, 11.0]), ("nginx", &[5.0, 5.5])]);
    let ratio = compare(&now, &before).into_iter().find(|row| row[2] == "CPU/nginx").unwrap();
    assert_eq!((ratio[5].as_str(), ratio[6].as_str()), ("1.00", ""));
    let single = |cpu: f64| Spread::of(&[cpu]).unwrap();
    assert!(!single(1.0).apart(&single(2.0)), "one round has no spread");
    let touching = Spread::of(&[12.0, 13.0]).unwrap();
    assert!(!touching.apart(&Spread::of(&[10.0, 12.0]).unwrap()));
}

#[test]
fn what_is_written_is_read_again() {
    let mut run = run("reloads", &[(OURS, &[1.5])]);
    run.rounds[0].round.marks.push(Mark { at: 0.5, what: "reload".to_owned() });
    run.rounds[0].round.series = vec![1, 2, 3];
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
}

#[test]
fn tables_leave_out_what_no_target_has_and_stand_in_columns() {
    let rows = summary(&run("get-1k", &[(OURS, &[11.0]), ("nginx", &[10.0])]), "get-1k");
    assert!(rows[0].contains(&"CPU/nginx".to_owned()));
    assert!(!rows[0].contains(&"CPU/haproxy".to_owned()) && !rows[0].contains(&"calls/req".to_owned()));
    let cell = |row: usize, name: &str| &rows[row][rows[0].iter().position(|heading| heading == name).unwrap()];
    assert_eq!((cell(1, "CPU/nginx").as_str(), cell(2, "CPU/nginx").as_str()), ("1.10", "-"));
    let table = aligned(&[vec!["a".into(), "1".into()], vec!["long".into(), "22".into()]]);
    assert_eq!(table, "a      1\nlong  22\n");
}

#[test]
fn a_page_escapes_what_it_shows_and_refers_to_nothing_outside() {
    assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    let mut run = run("get-1k", &[(OURS, &[11.0]), ("<script>", &[10.0])]);
    for sample in &mut run.rounds {
        sample.round.latency = vec![(0.0, 50.0), (0.5, 100.0), (0.99, 400.0), (0.999, 4000.0)];
        sample.round.series = vec![10, 20, 30];
    }
    let page = page(&run, &str::to_owned, None);
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    assert_eq!(page.matches("<svg").count(), 2, "latency and throughput");
    assert!(!page.contains("src=") && !page.contains("url(") && !page.contains("href=\"http"));
}

#[test]
fn plots_show_each_curve_and_each_mark() {
    let series = [5, 6, 7];
    let curves = [("one", &series[..]), ("two", &series[..])];
    let mark = |at| Mark { at, what: "reload".to_owned() };
    let lines = |marks: &[Mark]| plot::throughput(&curves, marks).unwrap().matches("<polyline").count();
    // One that came after the end is not shown.
    assert_eq!(lines(&[mark(0.1), mark(0.2), mark(9.0)]), lines(&[]) + 2);
    assert!(plot::latency(&[("none", Vec::new())]).is_ok());
}

/// What an answer of that head and body is taken for, cut at that byte.
fn taken(intake: &mut Intake, message: &[u8], cut: usize) -> Option<u16> {
    let mut code = None;
    for part in [&message[..cut], &message[cut..]].into_iter().filter(|part| !part.is_empty()) {
        intake.space()[..part.len()].copy_from_slice(part);
        assert_eq!(code, None, "the answer was whole before its end");
        code = intake.took(part.len()).unwrap().map(|verdict| verdict.code);
    }
    code
}

#[test]
fn an_answer_is_whole_at_its_last_byte_wherever_it_is_cut() {
    let message = b"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 7\r\n\r\na\r\n\r\nbc";
    // On one connection: the first is read, the next ones are known.
    let mut intake = Intake::new(answer);
    for cut in 0..message.len() {
        assert_eq!(taken(&mut intake, message, cut), Some(200), "cut at {cut}");
    }
}

#[test]
fn an_answer_that_differs_from_the_one_before_is_read_anew() {
    let mut intake = Intake::new(answer);
    for (message, code) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"[..], 200),
        // As long a head.
        (b"HTTP/1.1 502 No\r\nContent-Length: 02\r\n\r\nxx", 502),
        // A shorter one, and in its body an end of a head where that of the one before was.
        (b"HTTP/1.1 201 A\r\nContent-Length: 6\r\n\r\n\r\n\r\nyy", 201),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", 200),
    ] {
        assert_eq!(taken(&mut intake, message, 0), Some(code));
    }
}

#[test]
fn an_answer_that_ends_too_early_or_says_no_length_is_an_error() {
    let mut intake = Intake::new(answer);
    assert!(intake.took(0).is_err(), "closed");
    let message = b"HTTP/1.1 200 OK\r\n\r\n";
    intake.space()[..message.len()].copy_from_slice(message);
    assert!(intake.took(message.len()).is_err(), "no length");
}

#[test]
fn fields_are_found_whatever_their_case_and_the_first_of_a_name_counts() {
    let head =
        b"POST / HTTP/1.1\r\nCONTENT-LENGTH:  12 \r\nauthorization: a\r\nAuthorization: b\r\nContent-Type:x\r\n\r\n";
    let fields = Fields::of(head);
    assert_eq!(fields.length, Some(12));
    assert_eq!((fields.authorization, fields.content_type), (Some(&b"a"[..]), Some(&b"x"[..])));
    assert_eq!(fields.transfer_encoding, None);
}
