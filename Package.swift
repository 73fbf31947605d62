// swift-tools-version: 6.2
import PackageDescription

/// CI makes warnings errors; a user's newer compiler with new warnings shall still build.
let isCI = Context.environment["VBENCH_STRICT"] != nil

/// Settings of every Swift target: Swift 6 language mode is the tools version's default.
let strict: [SwiftSetting] =
    [.enableUpcomingFeature("ExistentialAny")] + (isCI ? [.treatAllWarnings(as: .error)] : [])

/// What runs between guest exit and guest entry. Dynamic exclusivity checks (SE-0176) would be there on every exit, in the thread
/// that owns all of it.
let exitPath: [SwiftSetting] =
    strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [],
    resources: [Resource]? = nil, settings: [SwiftSetting] = strict, plugins: [Target.PluginUsage]? = nil
) -> Target {
    .target(
        name: name, dependencies: dependencies, exclude: exclude, resources: resources,
        swiftSettings: settings, plugins: plugins)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: [.target(name: name)] + dependencies, resources: resources,
        swiftSettings: strict)
}

let package = Package(
    name: "vbench",
    products: [
        .executable(name: "vbench", targets: ["vbench"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // System libraries and C shims.
        .target(name: "CLinux", cSettings: isCI ? [.treatAllWarnings(as: .error)] : []),
        .systemLibrary(name: "CElf", pkgConfig: "libelf", providers: [.apt(["libelf-dev"])]),
        .systemLibrary(name: "CNuma", pkgConfig: "numa", providers: [.apt(["libnuma-dev"])]),
        .systemLibrary(name: "CMd", pkgConfig: "libmd", providers: [.apt(["libmd-dev"])]),
        .systemLibrary(name: "CZydis", providers: [.apt(["libzydis-dev"])]),

        // Guest code, compiled by the build-tool plugin and carried as bundle resources.
        .plugin(name: "GuestBuild", capability: .buildTool()),
        library("GuestImages", [], plugins: [.plugin(name: "GuestBuild")]),

        // The house, dependencies downward only.
        library("GuestInterface"),
        library("Host", ["CLinux", "CNuma"]),
        library(
            "Machine",
            [
                "GuestInterface", "Host", "CElf", "CLinux", "CNuma",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ], settings: exitPath),
        library(
            "HardwareVMM",
            [
                "Machine", "Host", "GuestInterface", "CLinux", "CZydis",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ], settings: exitPath),
        library("Translator", ["GuestInterface", "CZydis"], settings: exitPath),
        library("Interpreter", ["Machine", "CZydis"], settings: exitPath),
        library(
            "SoftwareVMM", ["Machine", "Translator", "Interpreter", "CLinux", "CZydis"], settings: exitPath),
        library("Results"),
        library("Suite"),
        library("Statistics"),
        library(
            "Backends", ["HardwareVMM", "SoftwareVMM", "Machine", "Host", "Results", "GuestImages", "CLinux", "CMd"]),
        library(
            "Lab", ["Backends", "Suite", "Results", "Statistics", "Host", "GuestImages", "GuestInterface", "CLinux"]),
        library("Report", ["Results", "Statistics"]),
        // Test support and tests.
        .target(name: "SchemaTesting", path: "Tests/SchemaTesting", swiftSettings: strict),
        tests("Suite", ["SchemaTesting"]),
        tests("Results", ["SchemaTesting"]),
        tests("Statistics"),
        tests("Report", ["SchemaTesting"]),
        .target(
            name: "MachineTesting", dependencies: ["Machine"], path: "Tests/MachineTesting", exclude: ["Kernels"],
            swiftSettings: strict),
        tests("Machine", ["MachineTesting"]),
        tests("HardwareVMM", ["MachineTesting"]),
        tests("GuestImages"),
        .testTarget(
            name: "NubTests", dependencies: ["GuestImages", "Machine", "MachineTesting"], exclude: ["Programs"],
            swiftSettings: strict),
        .testTarget(
            name: "BackendsTests", dependencies: ["Backends", "Host", "Lab"], exclude: ["Programs"],
            swiftSettings: strict),
        .target(name: "CTesting", path: "Tests/CTesting"),
        tests("Host", ["CTesting"]),
        .executableTarget(
            name: "vbench",
            dependencies: [
                "Lab", "Report", "Backends", "Suite", "Results", "Host", "Machine", "GuestImages", "GuestInterface",
                "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        tests("Lab", ["Backends", "Results", "Suite"]),
        .testTarget(
            name: "VBenchTests", dependencies: ["vbench", "Results", "GuestImages", "Machine", "MachineTesting"],
            swiftSettings: strict),
        .target(
            name: "TranslatorTesting", dependencies: ["Translator", "CLinux", "CZydis"],
            path: "Tests/TranslatorTesting", swiftSettings: strict),
        tests("Translator", ["TranslatorTesting", "MachineTesting"], resources: [.copy("Corpus")]),
        .executableTarget(
            name: "vbench-fuzz", dependencies: ["TranslatorTesting", "SoftwareVMMTesting"], path: "Tests/Fuzz",
            swiftSettings: strict),
        .target(
            name: "SoftwareVMMTesting", dependencies: ["SoftwareVMM", "TranslatorTesting", "MachineTesting", "CZydis"],
            path: "Tests/SoftwareVMMTesting", swiftSettings: strict),
        .testTarget(
            name: "SoftwareVMMTests", dependencies: ["SoftwareVMM", "SoftwareVMMTesting", "MachineTesting"],
            exclude: ["Guests"], resources: [.copy("Corpus")], swiftSettings: strict),
        tests("Interpreter", ["CTesting", "CZydis", "MachineTesting"]),
    ]
)
