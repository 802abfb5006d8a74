;; Writes into its memory, then fails half-made: the second data segment is out of bounds.
(module (memory (export "memory") 1) (data (i32.const 4096) "\05\00\00\00") (data (i32.const 65535) "xx") (func (export "_start")))
