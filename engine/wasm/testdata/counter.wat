;; Counts in a global and in memory, and prints both: always 11 if each task starts afresh.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (func (export "_start")
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))
    (i32.store8 (i32.const 64) (i32.add (i32.const 48) (global.get $count)))
    (i32.store8 (i32.const 65) (i32.add (i32.const 48) (i32.load (i32.const 4096))))
    (i32.store (i32.const 24) (i32.const 64))
    (i32.store (i32.const 28) (i32.const 2))
    (drop (call $write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 32)))))
