;; spin N: goes round a loop N times and prints nothing.
(module
(import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
(memory (export "memory") 1)
(global $sum (export "sum") (mut i64) (i64.const 1))
(func (export "_start") (local $p i32) (local $n i64) (local $x i64)
(drop (call $args (i32.const 0) (i32.const 1024)))
(local.set $p (i32.load (i32.const 4)))
(loop $digit
(local.set $n (i64.add (i64.mul (local.get $n) (i64.const 10)) (i64.sub (i64.load8_u (local.get $p)) (i64.const 48))))
(local.set $p (i32.add (local.get $p) (i32.const 1)))
(br_if $digit (i32.load8_u (local.get $p))))
(local.set $x (global.get $sum))
(loop $spin
(local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
(local.set $n (i64.sub (local.get $n) (i64.const 1)))
(br_if $spin (i64.ne (local.get $n) (i64.const 0))))
(global.set $sum (local.get $x))))
