package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.model.Api;
import hudson.model.Run;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import jenkins.model.RunAction2;
import jenkins.util.VirtualFile;
import org.kohsuke.stapler.export.Exported;
import org.kohsuke.stapler.export.ExportedBean;

/** The kernel runs of one build: its page "Kernel run", the summary on the build's page, and their remote API. */
@ExportedBean
public class KernelRunAction implements RunAction2 {
    static final String URL = "kernel-run";

    private final List<KernelRun> runs = new ArrayList<>();
    private transient Run<?, ?> build;

    /** Adds a run to a build, whose branches may do so at once; a second one of the same folder replaces it. */
    static void add(Run<?, ?> build, KernelRun run) throws IOException {
        synchronized (build) {
            KernelRunAction action = build.getAction(KernelRunAction.class);
            if (action == null) {
                action = new KernelRunAction();
                build.addAction(action);
            }
            synchronized (action.runs) {
                action.runs.removeIf(other -> other.getDirectory().equals(run.getDirectory()));
                action.runs.add(run);
            }
            build.save();
        }
    }

    /** In the order in which they ended. */
    @Exported(visibility = 2)
    public List<KernelRun> getRuns() {
        synchronized (runs) {
            return List.copyOf(runs);
        }
    }

    /** Whether a run of the build has its results in a folder already. */
    boolean holds(String directory) {
        return getRuns().stream().anyMatch(run -> run.getDirectory().equals(directory));
    }

    @Override
    public void onAttached(Run<?, ?> build) {
        this.build = build;
    }

    @Override
    public void onLoad(Run<?, ?> build) {
        this.build = build;
    }

    public Run<?, ?> getBuild() {
        return build;
    }

    public Api getApi() {
        return new Api(this);
    }

    /** Whether a run's file is still among the build's artifacts; a discarder may have taken it. */
    public boolean has(KernelRun run, String file) {
        VirtualFile folder = build.getArtifactManager().root();
        try {
            return folder.child(run.getDirectory() + "/" + file).isFile();
        } catch (IOException unreadable) {
            return false;
        }
    }

    @NonNull
    @Override
    public String getDisplayName() {
        return getRuns().size() == 1 ? "Kernel run" : "Kernel runs";
    }

    @CheckForNull
    @Override
    public String getIconFileName() {
        return "symbol-analytics";
    }

    @NonNull
    @Override
    public String getUrlName() {
        return URL;
    }
}
