// Grafana's published schema types; scripts/setup --tests builds the checker, verified by go.sum.
module entrain/grafana-schema

go 1.24.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.18
