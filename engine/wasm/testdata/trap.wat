;; Traps in the way its first byte of HPIPS_INDEX says: u(nreachable), d(ivide), b(ounds), s(tack), l(oop without end).
(module
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $down (result i32) (i32.add (call $down) (i32.const 1)))
  (func (export "_start") (local $p i32) (local $c i32)
    (drop (call $environ (i32.const 64) (i32.const 4096)))
    (local.set $p (i32.const 4095))
    (loop $find
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br_if $find (i32.ne (i32.load (local.get $p)) (i32.const 0x3d584544))))
    (local.set $c (i32.load8_u offset=4 (local.get $p)))
    (if (i32.eq (local.get $c) (i32.const 117)) (then (unreachable)))
    (if (i32.eq (local.get $c) (i32.const 100)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
    (if (i32.eq (local.get $c) (i32.const 98)) (then (drop (i32.load (i32.const 70000)))))
    (if (i32.eq (local.get $c) (i32.const 115)) (then (drop (call $down))))
    (if (i32.eq (local.get $c) (i32.const 108)) (then (loop $for (br $for))))))
