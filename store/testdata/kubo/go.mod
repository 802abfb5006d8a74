module github.com/hpips/hpips/store/testdata/kubo

go 1.26.0

require (
	github.com/cockroachdb/pebble/v2 v2.1.7 // indirect
	github.com/cockroachdb/swiss v0.0.0-20260820225851-333444432258 // indirect
	github.com/ipfs/kubo v0.38.2
)
