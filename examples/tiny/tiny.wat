;; Prints the value of HPIPS_INDEX and nothing else.
(module
(import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(func (export "_start") (local $p i32) (local $n i32)
(drop (call $environ (i32.const 64) (i32.const 4096)))
(local.set $p (i32.const 4095))
(loop $find ;; the four bytes "DEX="
(local.set $p (i32.add (local.get $p) (i32.const 1)))
(br_if $find (i32.ne (i32.load (local.get $p)) (i32.const 0x3d584544))))
(loop $len
(local.set $n (i32.add (local.get $n) (i32.const 1)))
(br_if $len (i32.load8_u offset=4 (i32.add (local.get $p) (local.get $n)))))
(i32.store (i32.const 0) (i32.add (local.get $p) (i32.const 4)))
(i32.store (i32.const 4) (local.get $n))
(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
