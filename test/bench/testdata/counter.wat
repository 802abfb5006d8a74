;; Adds one to a global and to a word of memory and prints the sum less one: 1 in fresh memory, more in memory that another task has used.
(module
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(global $count (mut i32) (i32.const 0))
(func (export "_start")
(global.set $count (i32.add (global.get $count) (i32.const 1)))
(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
(i32.store (i32.const 128) (i32.add (i32.const 0x0a2f) ;; "/\n", and "1\n" with two added
(i32.add (global.get $count) (i32.load (i32.const 64)))))
(i32.store (i32.const 0) (i32.const 128))
(i32.store (i32.const 4) (i32.const 2))
(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
