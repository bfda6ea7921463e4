// Decodes Grafana dashboards strictly into Grafana's published schema types: a field that the types do not have, a required one that is
// missing and a value of another type are refused.
//
//	grafana-schema DASHBOARD.json...    exit code 1 and a line a problem
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statushistory"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// The types' own errors come as a list that is never nil.
func problemsOf(what string, err error) []error {
	var list cog.BuildErrors
	if err == nil || (errors.As(err, &list) && len(list) == 0) {
		return nil
	}
	return []error{fmt.Errorf("%s: %w", what, err)}
}

func register() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(bargauge.VariantConfig())
	runtime.RegisterPanelcfgVariant(statushistory.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
}

// The parts of a dashboard that the types keep open: without a look of our own they would accept anything.
type openParts struct {
	Panels []struct {
		Title       string
		Type        string
		FieldConfig json.RawMessage
		Targets     []struct {
			Datasource struct{ Type string }
		}
		Transformations []struct{ Id string }
	}
}

// Transformations of Grafana that dashboards here use; the types say no more than that an id is a text.
var transformations = map[string]bool{"merge": true, "organize": true, "groupingToMatrix": true}

func checkOpenParts(raw []byte) []error {
	var parts openParts
	if err := json.Unmarshal(raw, &parts); err != nil {
		return []error{err}
	}
	var problems []error
	for _, panel := range parts.Panels {
		if _, known := cog.ConfigForPanelcfgVariant(panel.Type); !known {
			problems = append(problems, fmt.Errorf("panel %q: no types for panels of type %q", panel.Title, panel.Type))
		}
		var fields dashboard.FieldConfigSource
		problems = append(problems, problemsOf(fmt.Sprintf("panel %q: fieldConfig", panel.Title), fields.UnmarshalJSONStrict(panel.FieldConfig))...)
		for _, target := range panel.Targets {
			if target.Datasource.Type != "prometheus" {
				problems = append(problems, fmt.Errorf("panel %q: a query of data source %q", panel.Title, target.Datasource.Type))
			}
		}
		for _, transformation := range panel.Transformations {
			if !transformations[transformation.Id] {
				problems = append(problems, fmt.Errorf("panel %q: transformation %q", panel.Title, transformation.Id))
			}
		}
	}
	return problems
}

func check(path string) []error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return []error{err}
	}
	var decoded dashboard.Dashboard
	if problems := problemsOf("dashboard", decoded.UnmarshalJSONStrict(raw)); problems != nil {
		return problems
	}
	return append(checkOpenParts(raw), problemsOf("dashboard", decoded.Validate())...)
}

func main() {
	register()
	failed := len(os.Args) < 2
	for _, path := range os.Args[1:] {
		for _, problem := range check(path) {
			fmt.Printf("%s: %v\n", path, problem)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
