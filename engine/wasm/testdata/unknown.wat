(module (import "wasi_snapshot_preview1" "sock_dream" (func)) (memory (export "memory") 1) (func (export "_start")))
