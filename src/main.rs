//! The binary: everything is in the library, see `app`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    watchpost::app::run(std::env::args_os())
}
