(module (import "env" "emscripten_run" (func)) (memory (export "memory") 1) (func (export "_start")))
