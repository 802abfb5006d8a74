//! hello greets, and shows all that a program can be given: arguments, standard input, files, an exit code.

use std::{env, fs::File, io, process::exit};

fn copy(input: &mut dyn io::Read) -> i32 {
    match io::copy(input, &mut io::stdout()) {
        Ok(_) => 0,
        Err(e) => complain(&e.to_string(), 1),
    }
}

fn cat(path: &str) -> i32 {
    match File::open(path) {
        Ok(mut f) => copy(&mut f),
        Err(e) => complain(&format!("{}: {}", path, e), 1),
    }
}

fn leave(number: &str) -> i32 {
    match number.parse() {
        Ok(n @ 0..=127) => n,
        _ => complain(&format!("exit {:?}: want a number from 0 to 127", number), 2),
    }
}

fn complain(what: &str, code: i32) -> i32 {
    eprintln!("hello: {}", what);
    code
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(|s| s.as_str()).collect();
    exit(match words[..] {
        ["copy", ..] => copy(&mut io::stdin()),
        ["cat", path] => cat(path),
        ["exit", number] => leave(number),
        [] => {
            println!("hello, world");
            0
        }
        _ => {
            println!("hello, {}", words.join(" "));
            0
        }
    })
}
