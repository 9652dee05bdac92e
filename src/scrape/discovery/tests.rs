//! What each discovery makes of what it is told; the servers are real ones on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

use super::*;
use crate::scrape::config::{Docker, HttpConfig, RecordType, parse};

fn shown(found: &[Labels]) -> String {
    found.iter().map(|labels| format!("{labels}\n")).collect()
}

/// Answers each connection with one text, and remembers what was asked.
async fn answer_once<S>(mut stream: S, answer: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.expect("a request"));
    }
    stream.write_all(answer.as_bytes()).await.expect("sent");
    String::from_utf8(asked).expect("text")
}

fn ok(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn files_are_read_when_they_change_and_bad_ones_keep_what_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.json");
    let patterns = [dir.path().join("*.json"), dir.path().join("*.yml")];
    let mut seen = files::Seen::default();
    let mut look = async || files::look(&patterns, &mut seen).await;
    assert_eq!(look().await, Ok(Vec::new()));
    std::fs::write(
        &path,
        "[\n\t{\"targets\": [\"h:1\", \"h:2\"], \"labels\": {\"zone\": \"eu\"}}]",
    )
    .expect("written");
    let file = path.display();
    let both = format!(
        "{{__address__=\"h:1\", __meta_filepath=\"{file}\", zone=\"eu\"}}\n{{__address__=\"h:2\", __meta_filepath=\"{file}\", zone=\"eu\"}}\n"
    );
    assert_eq!(shown(&look().await.expect("good")), both);
    std::fs::write(&path, "[{\"targets\": 1}]").expect("written");
    assert_eq!(
        shown(&look().await.expect("kept")),
        both,
        "a bad file keeps what it had"
    );
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(dir.path().join("b.yml"), "- targets: [x]\n- bogus: 1\n").expect("written");
    let error = look().await.expect_err("never was a good one");
    assert!(
        error.contains("b.yml:2:3: field bogus not found"),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_lists_targets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/sd", listener.local_addr().expect("bound"));
    let client = Client::new(&HttpConfig::default(), &Reach::default());
    let serve = async |answer: String| {
        let (stream, _) = listener.accept().await.expect("a connection");
        answer_once(stream, &answer).await
    };
    let body = r#"[{"targets": ["h:1"], "labels": {"zone": "eu", "__meta_x": "y"}}]"#;
    let (asked, found) = tokio::join!(
        serve(ok("application/json; charset=utf-8", body)),
        by_http(&client, &url, Duration::from_secs(60))
    );
    assert!(
        asked.contains("x-prometheus-refresh-interval-seconds: 60\r\n"),
        "{asked}"
    );
    let expect =
        format!("{{__address__=\"h:1\", __meta_url=\"{url}\", __meta_x=\"y\", zone=\"eu\"}}\n");
    assert_eq!(shown(&found.expect("good")), expect);
    let (_, found) = tokio::join!(
        serve(ok("text/html", body)),
        by_http(&client, &url, Duration::from_secs(60))
    );
    assert_eq!(
        found,
        Err("unsupported content type \"text/html\"".to_owned())
    );
}

#[tokio::test]
async fn docker_tells_containers_over_its_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let docker = docker_of(&format!(
        "host: 'unix://{}', filters: [{{name: label, values: [scrape]}}]",
        socket.display()
    ));
    let containers = r#"[
      {"Id": "c1", "Names": ["/web"], "Labels": {"com.docker.compose.service": "web"},
       "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
       "HostConfig": {"NetworkMode": "bridge"},
       "NetworkSettings": {"Networks": {"z": {"NetworkID": "n9", "IPAddress": "10.9.0.1"}, "a": {"NetworkID": "n1", "IPAddress": "172.17.0.2"}}}},
      {"Id": "c2", "Names": ["/side"], "HostConfig": {"NetworkMode": "container:c1"}, "NetworkSettings": {"Networks": {}}},
      {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
       "NetworkSettings": {"Networks": {"host": {"NetworkID": "n2", "IPAddress": ""}}}}]"#;
    let networks = r#"[{"Id": "n1", "Name": "a", "Scope": "local", "Internal": false, "Ingress": false, "Labels": {"k": "v"}}]"#;
    let serve = async {
        let mut asked = Vec::new();
        for body in [containers, networks] {
            let (stream, _) = listener.accept().await.expect("a connection");
            asked.push(answer_once(stream, &ok("application/json", body)).await);
        }
        asked
    };
    let reach = Reach::default();
    let (asked, found) = tokio::join!(serve, docker::look(&docker, &reach));
    let filters = "GET /containers/json?filters=%7B%22label%22%3A%5B%22scrape%22%5D%7D ";
    assert!(asked[0].starts_with(filters), "{}", asked[0]);
    let found = found.expect("good");
    let network = "__meta_docker_network_id=\"n1\", __meta_docker_network_ingress=\"false\", __meta_docker_network_internal=\"false\", __meta_docker_network_ip=\"172.17.0.2\", __meta_docker_network_label_k=\"v\", __meta_docker_network_name=\"a\", __meta_docker_network_scope=\"local\"";
    let web = format!(
        "{{__address__=\"172.17.0.2:80\", __meta_docker_container_id=\"c1\", __meta_docker_container_label_com_docker_compose_service=\"web\", __meta_docker_container_name=\"/web\", __meta_docker_container_network_mode=\"bridge\", {network}, __meta_docker_port_private=\"80\", __meta_docker_port_public=\"8080\", __meta_docker_port_public_ip=\"0.0.0.0\"}}\n"
    );
    let side = format!(
        "{{__address__=\"172.17.0.2:80\", __meta_docker_container_id=\"c2\", __meta_docker_container_name=\"/side\", __meta_docker_container_network_mode=\"container:c1\", {network}}}\n"
    );
    let host = "{__address__=\"localhost\", __meta_docker_container_id=\"c3\", __meta_docker_container_name=\"/host\", __meta_docker_container_network_mode=\"host\"}\n";
    assert_eq!(shown(&found), format!("{web}{side}{host}"));
}

fn docker_of(rest: &str) -> Docker {
    let text = format!("scrape_configs: [{{job_name: j, docker_sd_configs: [{{{rest}}}]}}]");
    let file = parse(std::path::Path::new("x"), &text, &|_| None).expect("a good file");
    match &file.jobs[0].discovery[0] {
        Discovery::Docker(docker) => (**docker).clone(),
        other => panic!("{other:?}"),
    }
}

/// Answers one question with records after it, the first name by a pointer to the question.
fn dns_answer(question: &[u8], code: u8, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let end = question.len() - 11;
    let mut out = question[..end].to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    out[10..12].copy_from_slice(&[0, 0]);
    for (kind, data) in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

#[track_caller]
fn check_record(records: RecordType, kind: u16, data: &[u8], expect: &str) {
    let question = wire::question(7, "_http._tcp.example", records).expect("a name");
    // An alias comes before what was asked for.
    let answer = dns_answer(
        &question,
        0,
        &[(5, vec![1, b'a', 0]), (kind, data.to_vec())],
    );
    let Some(wire::Reply::Records(found)) = wire::reply(&answer, 7, records) else {
        panic!("records");
    };
    assert_eq!(
        shown(&[dns::target("n", &found[0], 99)]),
        format!("{expect}\n")
    );
    for end in 0..answer.len() {
        wire::reply(&answer[..end], 7, records);
    }
    assert_eq!(
        wire::reply(&answer, 8, records),
        None,
        "the answer to another question"
    );
}

#[test]
fn records_become_targets() {
    check_record(
        RecordType::A,
        1,
        &[192, 0, 2, 1],
        r#"{__address__="192.0.2.1:99", __meta_dns_name="n"}"#,
    );
    let v6 = std::net::Ipv6Addr::LOCALHOST.octets();
    check_record(
        RecordType::Aaaa,
        28,
        &v6,
        r#"{__address__="[::1]:99", __meta_dns_name="n"}"#,
    );
    // Host "h" and the rest by a pointer to `_tcp.example` in the question.
    let service = [0, 1, 0, 2, 0x1f, 0x90, 1, b'h', 0xc0, 18];
    check_record(
        RecordType::Srv,
        33,
        &service,
        r#"{__address__="h._tcp.example:8080", __meta_dns_name="n", __meta_dns_srv_record_port="8080", __meta_dns_srv_record_target="h._tcp.example."}"#,
    );
    check_record(
        RecordType::Mx,
        15,
        &[0, 10, 1, b'm', 0],
        r#"{__address__="m:99", __meta_dns_mx_record_target="m.", __meta_dns_name="n"}"#,
    );
}

#[test]
fn pointers_in_a_circle_end() {
    let question = wire::question(7, "a", RecordType::Ns).expect("a name");
    let at = question.len() - 11 + 12;
    let circle = [0xc0 | (at >> 8) as u8, at as u8];
    let answer = dns_answer(&question, 0, &[(2, circle.to_vec())]);
    assert_eq!(wire::reply(&answer, 7, RecordType::Ns), None);
    assert_eq!(wire::question(1, &"a".repeat(64), RecordType::A), None);
    assert_eq!(wire::question(1, "a..b", RecordType::A), None);
}

#[tokio::test]
async fn servers_are_asked_in_order_and_again_over_tcp() {
    let resolver = dns::Resolver::parse(
        "# a comment\nnameserver 127.0.0.1 ; local\nnameserver bad\nsearch one.example two.example\noptions ndots:2 rotate\n",
    );
    assert_eq!(
        resolver.servers,
        ["127.0.0.1:53".parse::<SocketAddr>().expect("an address")]
    );
    let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let address = udp.local_addr().expect("bound");
    let tcp = TcpListener::bind(address).await.expect("the same port");
    let resolver = dns::Resolver {
        servers: vec![address],
        ..resolver
    };
    let serve = async {
        let mut buffer = [0; 512];
        // h.one.example: no such name. h.two.example: too long for UDP.
        let (n, from) = udp.recv_from(&mut buffer).await.expect("a question");
        udp.send_to(&dns_answer(&buffer[..n], 3, &[]), from)
            .await
            .expect("sent");
        let (n, from) = udp.recv_from(&mut buffer).await.expect("a question");
        let mut cut = dns_answer(&buffer[..n], 0, &[]);
        cut[2] |= 2;
        udp.send_to(&cut, from).await.expect("sent");
        let (mut stream, _) = tcp.accept().await.expect("a connection");
        let length = stream.read_u16().await.expect("a length");
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.expect("a question");
        let answer = dns_answer(&question, 0, &[(1, vec![10, 0, 0, 1])]);
        stream.write_u16(answer.len() as u16).await.expect("sent");
        stream.write_all(&answer).await.expect("sent");
    };
    let ((), found) = tokio::join!(serve, resolver.lookup("h", RecordType::A));
    assert_eq!(
        found,
        Ok(vec![wire::Record::Address(
            "10.0.0.1".parse().expect("an address")
        )])
    );
}

proptest::proptest! {
    /// Answers of servers are foreign bytes.
    #[test]
    fn any_answer_is_read_or_refused(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for (at, byte) in [0, 7, 0x81, 0x80].into_iter().enumerate() {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        for records in [RecordType::A, RecordType::Aaaa, RecordType::Srv, RecordType::Mx, RecordType::Ns] {
            wire::reply(&bytes, 7, records);
        }
    }
}
