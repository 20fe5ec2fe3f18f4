package packaging_test

import (
	"os/exec"
	"syscall"
)

// confine lets a command see nothing but a folder, as nobody.
func confine(cmd *exec.Cmd, root string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
