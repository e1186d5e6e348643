//! A container's whole life through the generated client; docs/clients.md shows parts of it.
//!
//! ```text
//! BERTH_URL=http://127.0.0.1:7777 BERTH_TOKEN=berth_… drive busybox.tar
//! ```

use std::collections::HashMap;
use std::error::Error;

// example: connect
use berth_client::apis::configuration::Configuration;
use berth_client::apis::{self, ResponseContent, containers_api, images_api, system_api};
use berth_client::models::{
    Bytes, ContainerInput, ContainerPatch, ContainerSpec, ContainerSpecPatch, Cpu, ErrorCode, ExecInput, MetadataInput, MetadataPatch,
    Phase, Problem, Resources, StopInput,
};

fn connect(url: &str, token: &str) -> Configuration {
    Configuration { base_path: url.to_owned(), bearer_access_token: Some(token.to_owned()), ..Configuration::default() }
}
// end

// example: upload
/// The generator leaves the media type of bytes to the caller.
fn for_uploads(configuration: &Configuration) -> Result<Configuration, Box<dyn Error>> {
    let headers = [(reqwest::header::CONTENT_TYPE, reqwest::header::HeaderValue::from_static("application/x-tar"))];
    let client = reqwest::Client::builder().default_headers(headers.into_iter().collect()).build()?;
    Ok(Configuration { client, ..configuration.clone() })
}
// end

// example: problem
/// What the server said no with; anything else that went wrong is passed on.
fn problem_of<T, E: std::fmt::Debug>(answer: Result<T, apis::Error<E>>) -> Result<Problem, Box<dyn Error>> {
    match answer {
        Err(apis::Error::ResponseError(ResponseContent { content, .. })) => Ok(serde_json::from_str(&content)?),
        Err(other) => Err(format!("{other:?}").into()),
        Ok(_) => Err("it was not refused".into()),
    }
}
// end

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tar = std::env::args().nth(1).ok_or("which tar?")?;
    let berth = connect(&std::env::var("BERTH_URL")?, &std::env::var("BERTH_TOKEN")?);
    println!("Berth {}", system_api::get_version(&berth).await?.version);
    let name = "rust-driver";

    // example: import
    let uploads = for_uploads(&berth)?;
    let reference = Some("rust-driver:latest");
    let image =
        images_api::import_image(&uploads, tar.into(), reference, Some("[\"sh\"]"), None, None, None, None, None, None, None, None, None, None, None).await?;
    println!("{} {} bytes", image.metadata.name, image.status.size);
    // end
    assert_eq!(image.spec.references, ["docker.io/library/rust-driver:latest"]);

    // example: create
    let text = |text: &str| text.to_owned();
    let spec = ContainerSpec {
        image: Some(text("rust-driver")),
        command: Some(Some(["sh", "-c", "echo hello from rust; exec sleep 600"].map(text).to_vec())),
        resources: Some(Resources {
            memory: Some(Some(Bytes::String(text("64Mi")))),
            cpu: Some(Some(Cpu::Number(0.5))),
            pids: Some(Some(32)),
            ..Resources::default()
        }),
        ..ContainerSpec::default()
    };
    let labels = HashMap::from([(text("driver"), text("rust"))]);
    let metadata = MetadataInput { name: Some(Some(text(name))), labels: Some(labels), ..MetadataInput::default() };
    let wish = ContainerInput { metadata: Some(metadata), ..ContainerInput::new(spec) };
    let made = containers_api::create_container(&berth, wish, None, None).await?;
    println!("{} {:?}", made.metadata.name, made.status.phase);
    // end
    assert_eq!(made.status.phase, Phase::Created);

    // example: list
    let listed = containers_api::list_containers(&berth, None, None, Some("driver=rust"), None, None).await?;
    println!("{:?}", listed.items.iter().map(|item| &item.metadata.name).collect::<Vec<_>>());
    // end
    assert_eq!(listed.items.len(), 1);

    // example: start
    containers_api::start_container(&berth, name, None, None, None).await?;
    let running = containers_api::get_container(&berth, name, None).await?;
    println!("{:?} {:?}", running.status.phase, running.status.pid);
    // end
    assert_eq!(running.status.phase, Phase::Running);

    // example: exec
    let command = ["sh", "-c", "cat; exit 3"].map(text).to_vec();
    let input = ExecInput { stdin: Some(Some(text("to the process\n"))), ..ExecInput::new(command) };
    let answer = containers_api::exec_container(&berth, name, input, None, None).await?;
    println!("{} {}", answer.exit_code, answer.stdout);
    // end
    assert_eq!((answer.exit_code, answer.stdout.as_str()), (3, "to the process\n"));

    // example: logs
    println!("{}", containers_api::get_container_logs(&berth, name, None, Some(10), None, None, None, None).await?);
    // end
    assert_eq!(containers_api::get_container_logs(&berth, name, None, None, None, None, None, None).await?, "hello from rust\n");

    // example: stats
    let stats = containers_api::get_container_stats(&berth, name).await?;
    println!("{:?} of {:?} bytes", stats.memory.usage_bytes, stats.memory.limit_bytes);
    // end
    assert!(stats.memory.usage_bytes.flatten().is_some_and(|bytes| bytes > 0 && bytes <= 64 << 20));

    // example: patch
    let change = ContainerPatch {
        metadata: Some(MetadataPatch { labels: Some(Some(HashMap::from([(text("tier"), text("front"))]))), ..MetadataPatch::default() }),
        spec: Some(ContainerSpecPatch {
            resources: Some(Some(Resources { memory: Some(Some(Bytes::String(text("96Mi")))), ..Resources::default() })),
            ..ContainerSpecPatch::default()
        }),
    };
    let seen = format!("\"{}\"", running.metadata.resource_version);
    let changed = containers_api::patch_container(&berth, name, change, Some(&seen), None).await?;
    // end
    assert_eq!(changed.metadata.labels.len(), 2);

    // example: stop
    let now = StopInput { grace_period_seconds: Some(Some(0)), ..StopInput::default() };
    containers_api::stop_container(&berth, name, None, None, Some(now)).await?;
    let ended = containers_api::wait_container(&berth, name, None, None, None).await?;
    println!("{:?} {:?}", ended.exit_code, ended.signal);
    // end
    assert_eq!((ended.exit_code.flatten(), ended.signal.flatten().as_deref()), (Some(137), Some("SIGKILL")));

    // example: problems
    let nobody = problem_of(containers_api::get_container(&berth, "nobody", None).await)?;
    println!("{} {:?} {}", nobody.status, nobody.code, nobody.detail);

    let resources = Resources { memory: Some(Some(Bytes::Integer(1))), ..Resources::default() };
    let spec = ContainerSpec { image: Some(text(name)), resources: Some(resources), ..ContainerSpec::default() };
    let refused = problem_of(containers_api::create_container(&berth, ContainerInput::new(spec), None, None).await)?;
    for error in refused.errors.iter().flatten() {
        println!("{} {}", error.path, error.message);
    }
    // end
    assert_eq!((nobody.status, nobody.code), (404, ErrorCode::NotFound));
    assert_eq!((refused.status, refused.code), (422, ErrorCode::InvalidSpec));
    assert_eq!(refused.errors.unwrap_or_default()[0].path, "/spec/resources/memory");

    // example: delete
    containers_api::delete_container(&berth, name, Some(true), None, None, None).await?;
    // end
    assert_eq!(problem_of(containers_api::get_container(&berth, name, None).await)?.status, 404);
    images_api::delete_image(&berth, "rust-driver:latest", None, None).await?;
    println!("rust: a whole life");
    Ok(())
}
