package dnsserver

// Directives are the plugins of zplugin.go in the order in which a query passes them.
var Directives = []string{
	"reload", "ready", "health", "prometheus", "errors", "log", "loadbalance", "rewrite", "cache", "hosts",
	"kubernetes", "loop", "forward",
}
