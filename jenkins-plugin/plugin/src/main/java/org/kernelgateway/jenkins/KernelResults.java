package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.EnvVars;
import hudson.FilePath;
import hudson.Launcher;
import hudson.Util;
import hudson.model.Run;
import hudson.model.TaskListener;
import hudson.tasks.ArtifactArchiver;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.kernelgateway.jenkins.model.RunSummary;

/** From a run's result folder in the workspace to the build: artifacts, and the run on the page "Kernel run". */
final class KernelResults {
    private static final String RECORD = "run.json";

    private final Run<?, ?> build;
    private final FilePath workspace;
    private final EnvVars env;
    private final Launcher launcher;
    private final TaskListener listener;

    KernelResults(Run<?, ?> build, FilePath workspace, EnvVars env, Launcher launcher, TaskListener listener) {
        this.build = build;
        this.workspace = workspace;
        this.env = env;
        this.launcher = launcher;
        this.listener = listener;
    }

    /** A folder's run.json, to tell later whether the command wrote a new one; null without one. */
    @CheckForNull
    String record(String directory) throws IOException, InterruptedException {
        FilePath file = workspace.child(directory).child(RECORD);
        return file.exists() ? file.readToString() : null;
    }

    /**
     * Attaches a run to the build, however it ended; a folder without a record, or with another build's, is left alone.
     *
     * @param directory relative to the workspace
     * @param archive whether to archive the folder with fingerprints; false if the pipeline does so itself
     */
    void publish(String directory, boolean archive) throws IOException, InterruptedException {
        String record = record(directory);
        if (record == null) {
            return;
        }
        RunSummary summary;
        try {
            summary = RunSummary.parse(record);
        } catch (IllegalArgumentException unreadable) {
            listener.error("%s/%s: %s", directory, RECORD, unreadable.getMessage());
            return;
        }
        String tag = env.get("BUILD_TAG");
        if (tag != null && !summary.getBuildTag().isEmpty() && !tag.equals(summary.getBuildTag())) {
            listener.getLogger().println(directory + " is left from " + summary.getBuildTag() + "; it is not shown.");
            return;
        }
        if (archive) {
            ArtifactArchiver archiver = new ArtifactArchiver(directory + "/**");
            archiver.setDefaultExcludes(false);
            archiver.setAllowEmptyArchive(true);
            archiver.setFingerprint(true);
            archiver.setFollowSymlinks(false);
            archiver.perform(build, workspace, env, launcher, listener);
        }
        KernelRunAction.add(build, new KernelRun(summary, directory, figures(directory)));
    }

    /** Pictures that cells displayed; the report's own curves of metrics stand in its frame already. */
    private List<String> figures(String directory) throws IOException, InterruptedException {
        FilePath report = workspace.child(directory).child("report");
        List<String> names = new ArrayList<>();
        if (report.isDirectory()) {
            for (FilePath file : report.list("image-*.*", null)) {
                names.add(file.getName());
            }
        }
        Collections.sort(names);
        return names;
    }

    /**
     * Result folders that a pattern finds in the workspace, e.g. kernel-runs/*, by name.
     *
     * @return paths relative to the workspace
     */
    List<String> find(String pattern) throws IOException, InterruptedException {
        String root = workspace.getRemote();
        List<String> directories = new ArrayList<>();
        for (FilePath file : workspace.list(Util.fixNull(pattern).replaceAll("/+$", "") + "/" + RECORD, null)) {
            FilePath folder = file.getParent();
            if (folder != null && folder.getRemote().length() > root.length()) {
                directories.add(folder.getRemote().substring(root.length() + 1).replace('\\', '/'));
            }
        }
        Collections.sort(directories);
        return directories;
    }
}
