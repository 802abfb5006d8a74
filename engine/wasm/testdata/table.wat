;; Grows a table, which is not in its memory, until there is no more.
(module (memory (export "memory") 1) (table $t 1 funcref)
  (func (export "_start") (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 0x7ffffff)) (i32.const -1)))) (unreachable)))
