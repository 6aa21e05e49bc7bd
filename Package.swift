// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "PartialFC",
    products: [
        // One program under three names: Sources/Programs.
        .executable(name: "coordinator", targets: ["Programs"]),
        .executable(name: "shard-server", targets: ["Programs"]),
        .executable(name: "worker", targets: ["Programs"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    ],
    targets: [
        // C libraries: headers and link flags only.
        .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
        .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
        .systemLibrary(name: "CFreeType", pkgConfig: "freetype2", providers: [.apt(["libfreetype-dev"])]),
        .systemLibrary(name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
        .systemLibrary(name: "CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        // Hot loops. -ffp-contract=off: the same bits whatever the compiler fuses.
        .target(name: "CKernels", cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]),
        .target(name: "CWire", dependencies: ["CProtobufC"], exclude: ["wire.proto"]),

        // JPEG and PNG, whose libraries report errors by longjmp.
        .target(name: "CPictures", dependencies: ["CJPEG", "CPNG"], cSettings: [.unsafeFlags(["-O2"])]),

        // The words that all rooms share.
        .target(name: "Cluster", swiftSettings: settings),
        .target(name: "Tensors", dependencies: ["CKernels"], swiftSettings: settings),
        .target(name: "Determinism", dependencies: ["CKernels", "Cluster"], swiftSettings: settings),
        .target(
            name: "Dataset", dependencies: ["CFreeType", "CKernels", "CPictures", "CWebP", "Determinism", "Tensors"],
            swiftSettings: settings),
        .target(
            name: "Verification", dependencies: ["CFreeType", "CPNG", "Dataset", "Determinism", "Tensors"],
            swiftSettings: settings),
        .target(
            name: "Backbone", dependencies: ["CKernels", "COneDNN", "Cluster", "Determinism", "Tensors"],
            swiftSettings: settings),
        .target(
            name: "CenterStore",
            dependencies: ["CISAL", "CKernels", "Cluster", "Determinism", "ProcessSupport", "Tensors"],
            swiftSettings: settings),
        .target(
            name: "PartialFC",
            dependencies: ["CKernels", "COpenBLAS", "CenterStore", "Cluster", "Determinism", "Tensors"],
            swiftSettings: settings),
        .target(name: "StepProtocol", dependencies: ["Cluster", "Determinism"], swiftSettings: settings),
        // Endpoints, hosts and ports: one parser for every option, and one printer.
        .target(name: "NetworkAddress", swiftSettings: settings),
        .target(
            name: "Wire",
            dependencies: ["CKernels", "CWire", "CZeroMQ", "Cluster", "NetworkAddress", "StepProtocol", "Tensors"],
            exclude: ["PROTOCOL.md"],
            swiftSettings: settings),

        .target(name: "ProcessSupport", dependencies: ["CKernels", logging], swiftSettings: settings),
        // Key files and key sets, and the options that name them.
        .target(name: "ClusterKeys", dependencies: ["ProcessSupport", "Wire", arguments], swiftSettings: settings),
        .target(
            name: "RunConfiguration", dependencies: [.product(name: "Yams", package: "Yams")], swiftSettings: settings),

        .target(name: "ClusterStatus", swiftSettings: settings),
        // A live screen for a terminal, and other things that need one.
        .target(name: "ClusterConsole", dependencies: ["ClusterStatus", "ProcessSupport"], swiftSettings: settings),
        // HTTP for pages that are only read, and the text format of Prometheus.
        .target(
            name: "Monitoring", dependencies: ["ClusterStatus", "NetworkAddress", "ProcessSupport"],
            swiftSettings: settings),
        .target(
            name: "RunSetup",
            dependencies: [
                "Backbone", "COpenBLAS", "CenterStore", "Cluster", "Dataset", "PartialFC", "RunConfiguration",
                "StepProtocol", "Tensors",
            ],
            swiftSettings: settings),

        .target(
            name: "MemberSupport",
            dependencies: [
                "Backbone", "Cluster", "ClusterKeys", "Monitoring", "NetworkAddress", "PartialFC", "ProcessSupport",
                "RunSetup", "Wire", arguments, logging,
            ], swiftSettings: settings),

        .target(
            name: "CoordinatorStore",
            dependencies: ["Cluster", "ProcessSupport", "StepProtocol", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: settings),
        .target(
            name: "Coordinator",
            dependencies: [
                "Backbone", "COpenBLAS", "CenterStore", "Cluster", "ClusterConsole", "ClusterKeys", "ClusterStatus",
                "CoordinatorStore", "Determinism", "Monitoring", "NetworkAddress", "PartialFC", "ProcessSupport",
                "RunConfiguration", "RunSetup", "StepProtocol", "Tensors", "Wire", arguments, logging,
            ],
            resources: [.embedInCode("Pages/index.html"), .embedInCode("Pages/api.schema.json")],
            swiftSettings: settings),
        // What a shard is and keeps: executes what its state machine asks for, on files. No sockets.
        .target(
            name: "ShardState",
            dependencies: [
                "Backbone", "CKernels", "CenterStore", "Cluster", "MemberSupport", "PartialFC", "ProcessSupport",
                "RunConfiguration", "RunSetup", "StepProtocol", "Tensors", "Wire",
            ], swiftSettings: settings),
        .target(
            name: "ShardServer",
            dependencies: [
                "CenterStore", "Cluster", "MemberSupport", "Monitoring", "NetworkAddress", "PartialFC",
                "ProcessSupport", "RunConfiguration", "RunSetup", "ShardState", "StepProtocol", "Tensors", "Wire",
                arguments, logging,
            ], swiftSettings: settings),
        .target(
            name: "Worker",
            dependencies: [
                "Backbone", "CenterStore", "Cluster", "Dataset", "Determinism", "MemberSupport", "Monitoring",
                "PartialFC", "ProcessSupport", "RunConfiguration", "RunSetup", "StepProtocol", "Tensors",
                "Verification", "Wire", arguments, logging,
            ], swiftSettings: settings),

        .executableTarget(
            name: "Programs",
            dependencies: ["Coordinator", "ProcessSupport", "RunConfiguration", "ShardServer", "Worker", arguments],
            swiftSettings: settings),

        // Clusters of real processes, for tests and experiments.
        .target(
            name: "ClusterHarness",
            dependencies: [
                "CZeroMQ", "Cluster", "ClusterKeys", "ClusterStatus", "Determinism", "ProcessSupport", "Tensors",
                "Wire",
            ],
            path: "Benchmarks/ClusterHarness", swiftSettings: settings),
        .executableTarget(
            name: "experiments",
            dependencies: [
                "CKernels", "COneDNN", "COpenBLAS", "CenterStore", "Cluster", "ClusterHarness", "ClusterKeys",
                "ClusterStatus", "Determinism", "PartialFC", "ProcessSupport", "StepProtocol", "Tensors", "Wire",
                arguments,
            ],
            path: "Benchmarks/Experiments", swiftSettings: settings),

        .target(name: "TestFiles", path: "Tests/TestFiles", swiftSettings: settings),
        .testTarget(
            name: "ClusterTests",
            dependencies: [
                "Cluster", "ClusterHarness", "ClusterKeys", "ClusterStatus", "StepProtocol", "Tensors", "Wire",
            ],
            swiftSettings: settings),
        .testTarget(name: "ClusterKeysTests", dependencies: ["ClusterKeys", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "CenterStoreTests", dependencies: ["CenterStore", "Cluster", "Determinism", "Tensors", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "CoordinatorStoreTests",
            dependencies: [
                "Cluster", "CoordinatorStore", "StepProtocol", "TestFiles",
                .product(name: "GRDB", package: "GRDB.swift"),
            ], swiftSettings: settings),
        .testTarget(
            name: "CoordinatorTests",
            dependencies: [
                "Cluster", "ClusterStatus", "Coordinator", "Determinism", "Monitoring", "StepProtocol", "TestFiles",
                "Wire",
            ],
            swiftSettings: settings),
        .testTarget(name: "TensorsTests", dependencies: ["Determinism", "Tensors"], swiftSettings: settings),
        .testTarget(
            name: "PartialFCTests",
            dependencies: ["CenterStore", "Cluster", "Determinism", "PartialFC", "Tensors", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "DatasetTests", dependencies: ["Dataset", "Determinism", "Tensors", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "VerificationTests", dependencies: ["Dataset", "Tensors", "TestFiles", "Verification"],
            swiftSettings: settings),
        .testTarget(
            name: "BackboneTests", dependencies: ["Backbone", "Cluster", "Determinism", "Tensors", "TestFiles"],
            exclude: ["Reference"],
            swiftSettings: settings),
        .testTarget(
            name: "RunSetupTests",
            dependencies: [
                "CenterStore", "Cluster", "Dataset", "PartialFC", "RunConfiguration", "RunSetup", "StepProtocol",
                "Tensors", "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "ShardStateTests",
            dependencies: [
                "CenterStore", "Cluster", "Determinism", "PartialFC", "RunConfiguration", "RunSetup", "ShardState",
                "StepProtocol", "Tensors", "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "MonitoringTests", dependencies: ["ClusterHarness", "ClusterStatus", "Monitoring"],
            swiftSettings: settings),
        .testTarget(
            name: "ClusterConsoleTests", dependencies: ["ClusterConsole", "ClusterStatus"], swiftSettings: settings),
        .testTarget(name: "NetworkAddressTests", dependencies: ["NetworkAddress"], swiftSettings: settings),
        .testTarget(name: "RunConfigurationTests", dependencies: ["RunConfiguration"], swiftSettings: settings),
        .testTarget(
            name: "StepProtocolTests", dependencies: ["Cluster", "Determinism", "StepProtocol"], swiftSettings: settings
        ),
        .testTarget(name: "ProcessSupportTests", dependencies: ["ProcessSupport"], swiftSettings: settings),
        .testTarget(
            name: "WorkerTests",
            dependencies: ["Cluster", "RunConfiguration", "StepProtocol", "Tensors", "TestFiles", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "WireTests",
            dependencies: [
                "CZeroMQ", "Cluster", "ClusterHarness", "Determinism", "NetworkAddress", "StepProtocol", "Tensors",
                "Wire",
            ],
            swiftSettings: settings),
    ]
)
