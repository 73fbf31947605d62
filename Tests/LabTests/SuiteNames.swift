import Suite

// `Testing` has a `Suite` and an `Expectation` of its own; files that import it use these names.
typealias BenchmarkSuite = Suite
typealias SuiteExpectation = Expectation
typealias SuiteWorkload = Workload
typealias SuiteVariant = Variant
typealias SuiteColocation = Colocation
