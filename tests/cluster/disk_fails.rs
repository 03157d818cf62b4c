//! A disk that refuses what it took before: an ext4 image whose unwritten blocks have no place behind them. That needs root and
//! loop devices; without them the test says so and passes.

use std::fs;
use std::path::Path;

use kahuna_client::call::GetAnswer;

use super::mounts::{Mount, run};
use super::nodes::Cluster;

/// Holds the image, not all of it.
const MEMORY_BYTES: u64 = 48 << 20;
const ACKNOWLEDGED: usize = 50;
const VALUE_BYTES: usize = 20_000;

/// What the image lies on, and the image.
fn mounts(dir: &Path) -> Result<(Mount, Mount), String> {
    let memory = Mount::in_memory(MEMORY_BYTES, &dir.join("memory"))?;
    let disk = Mount::new(&memory.at.join("image"), &dir.join("disk"))?;
    Ok((memory, disk))
}

/// Claim: a node whose log cannot be written ends at once with exit code 74, the others go on, and what was acknowledged is
/// there when it runs again on the mended disk.
#[test]
fn a_node_ends_when_its_disk_fails() {
    let mut cluster = Cluster::new(3, 1, 2);
    let dir = cluster.dir().to_owned();
    let (memory, disk) = match mounts(&dir) {
        Ok(mounts) => mounts,
        Err(why) => return eprintln!("skipped: this needs root and loop devices: {why}"),
    };
    cluster.nodes[0].data_dir = disk.at.join("data");
    (0..3).for_each(|at| cluster.start(at));
    cluster.wait_until_led();
    let client = cluster.client();
    let key = |number: usize| format!("key/{number}");
    let value = |number: usize| vec![number as u8; VALUE_BYTES];
    for number in 0..ACKNOWLEDGED {
        client.set(key(number), value(number), None).expect("served");
    }
    // The log's blocks of zeros give their memory back, and somebody else takes it.
    let image = memory.at.join("image");
    run("sync", &["--file-system"], &[&disk.at]).expect("a loop device takes it");
    run("fallocate", &["--dig-holes"], &[&image]).expect("memory takes holes");
    let filler = memory.fill("filler", 0);

    for number in ACKNOWLEDGED..2 * ACKNOWLEDGED {
        client.set(key(number), value(number), None).expect("two of three are a majority");
    }
    assert_eq!(cluster.wait_for_exit(0), Some(74), "{}", cluster.printed(0));
    assert!(cluster.printed(0).contains("once the disk is mended"), "{}", cluster.printed(0));

    drop(disk);
    fs::remove_file(filler).expect("it was made");
    let _disk = Mount::again(&image, &dir.join("disk")).expect("it was mounted before");
    cluster.start(0);
    cluster.kill(1);
    for number in 0..2 * ACKNOWLEDGED {
        let answer = client.get(key(number)).expect("two of three are a majority");
        assert!(matches!(answer, GetAnswer::Value(read) if read.value == value(number)), "{}", key(number));
    }
}
