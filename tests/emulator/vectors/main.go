// Vectors for the emulator's tests, from Go itself: `go run . > ../golden/vectors.json` (needs k8s.io/kubelet once).
// checkCodes: DeviceInfo values with the SHA-256 of json.Marshal, as ClusterD computes it.
// wire: messages of the kubelet's own Go types, serialised with sorted map keys.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"

	"google.golang.org/protobuf/proto"
	plugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	resources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Fields in the order of MindCluster's struct: a map, whose keys Go sorts, then the time.
type deviceInfo struct {
	DeviceList map[string]string
	UpdateTime int64
}

type checkCode struct {
	Info    deviceInfo `json:"info"`
	Encoded string     `json:"encoded"`
	Sha256  string     `json:"sha256"`
}

func code(updateTime int64, pairs ...string) checkCode {
	info := deviceInfo{DeviceList: map[string]string{}, UpdateTime: updateTime}
	for i := 0; i < len(pairs); i += 2 {
		info.DeviceList[pairs[i]] = pairs[i+1]
	}
	encoded, err := json.Marshal(info)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(encoded)
	return checkCode{info, string(encoded), hex.EncodeToString(sum[:])}
}

func wire(message proto.Message) string {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(encoded)
}

func main() {
	name := "huawei.com/Ascend910"
	fault := `[{"fault_type":"CardUnhealthy","npu_name":"Ascend910-2","large_model_fault_level":"RestartNPU",` +
		`"fault_level":"RestartNPU","fault_handling":"RestartNPU","fault_code":"80E01801",` +
		`"fault_time_and_level_map":{"80E01801":{"fault_time":1760000000,"fault_level":"RestartNPU"}}}]`
	codes := []checkCode{
		code(0),
		code(1760000000, name, "Ascend910-0,Ascend910-1", name+"-Unhealthy", "", name+"-NetworkUnhealthy", "",
			name+"-Recovering", "", name+"-Fault", "[]"),
		code(1760000000, name, "Ascend910-0,Ascend910-1", name+"-Unhealthy", "Ascend910-2",
			name+"-NetworkUnhealthy", "", name+"-Recovering", "", name+"-Fault", fault),
		code(-1, "z", "last", "a", "first", "A", "capital", "ä", "umlaut", "名", "芯片"),
		code(1, "html", `<a href="x">&amp;</a>`, "quotes", `"\/`, "controls", "\b\f\n\r\t\x00\x1f\x7f",
			"separators", "a\u2028b\u2029c", "astral", "😀", "<key>", "&"),
	}
	plugin0 := &plugin.ContainerAllocateResponse{
		Envs: map[string]string{"ASCEND_VISIBLE_DEVICES": "0,1"},
		Mounts: []*plugin.Mount{
			{ContainerPath: "/usr/local/bin/npu-smi", HostPath: "/var/lib/ascend-emulator/npu-smi", ReadOnly: true},
		},
		Devices:     []*plugin.DeviceSpec{{ContainerPath: "/dev/davinci0", HostPath: "/dev/davinci0", Permissions: "rw"}},
		Annotations: map[string]string{"a": "b"},
		CdiDevices:  []*plugin.CDIDevice{{Name: "huawei.com/npu=0"}},
	}
	messages := map[string]string{
		"RegisterRequest": wire(&plugin.RegisterRequest{Version: plugin.Version, Endpoint: "Ascend910.sock",
			ResourceName: name, Options: &plugin.DevicePluginOptions{PreStartRequired: true,
				GetPreferredAllocationAvailable: true}}),
		"ListAndWatchResponse": wire(&plugin.ListAndWatchResponse{Devices: []*plugin.Device{
			{ID: "Ascend910-0", Health: plugin.Healthy},
			{ID: "Ascend910-1", Health: plugin.Unhealthy,
				Topology: &plugin.TopologyInfo{Nodes: []*plugin.NUMANode{{ID: 1}}}}}}),
		"AllocateRequest": wire(&plugin.AllocateRequest{ContainerRequests: []*plugin.ContainerAllocateRequest{
			{DevicesIds: []string{"Ascend910-0", "Ascend910-1"}}}}),
		"AllocateResponse": wire(&plugin.AllocateResponse{
			ContainerResponses: []*plugin.ContainerAllocateResponse{plugin0}}),
		"PreferredAllocationRequest": wire(&plugin.PreferredAllocationRequest{
			ContainerRequests: []*plugin.ContainerPreferredAllocationRequest{{AvailableDeviceIDs: []string{"a", "b"},
				MustIncludeDeviceIDs: []string{"b"}, AllocationSize: 2}}}),
		"PreferredAllocationResponse": wire(&plugin.PreferredAllocationResponse{
			ContainerResponses: []*plugin.ContainerPreferredAllocationResponse{{DeviceIDs: []string{"a", "b"}}}}),
		"PreStartContainerRequest": wire(&plugin.PreStartContainerRequest{DevicesIds: []string{"a"}}),
		"ListPodResourcesResponse": wire(&resources.ListPodResourcesResponse{PodResources: []*resources.PodResources{
			{Name: "worker-0", Namespace: "team-a", Containers: []*resources.ContainerResources{
				{Name: "trainer", CpuIds: []int64{1, 2}, Devices: []*resources.ContainerDevices{
					{ResourceName: name, DeviceIds: []string{"Ascend910-0"}, Topology: &resources.TopologyInfo{
						Nodes: []*resources.NUMANode{{ID: 1}}}}}}}}}}),
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"checkCodes": codes, "wire": messages}); err != nil {
		panic(err)
	}
}
