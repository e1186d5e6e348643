//! A new migration must make the program new, too: `sqlx::migrate!` alone does not notice an added file.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
